#!/usr/bin/env python
"""Send images to the server and write what it finds; needs Python alone.

  python client.py photo.jpg other.png --url http://localhost:8000 --output found

For NAME.jpg it writes NAME_segments.json and NAME_ids.png (segment id = R + 256 G + 65536 B).
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path


def send(url: str, path: Path) -> dict:
    """The server's answer for an image.

    Raises:
        urllib.error.URLError: there is no server, or it refuses the image.
    """
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; '
        f'filename="{path.name}"\r\n\r\n'
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{url}/segment", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--url", default="http://localhost:8000", help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("found"), metavar="DIR")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in options.images:
        try:
            answer = send(options.url, path)
        except urllib.error.HTTPError as error:
            print(f"{path}: {json.load(error)['detail']}", file=sys.stderr)
            failed = 1
            continue
        except OSError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = 1
            continue
        stem = options.output / path.stem
        Path(f"{stem}_segments.json").write_text(json.dumps(answer["segments"], indent=1))
        Path(f"{stem}_ids.png").write_bytes(base64.b64decode(answer["ids_png"]))
        names = ", ".join(segment["class_name"] for segment in answer["segments"])
        print(f"{path}: {names or 'nothing found'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
