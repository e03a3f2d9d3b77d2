#!/usr/bin/env python
"""An HTTP server of an exported model: an image goes in, segments and an id map come out.

  pip install numpy pillow onnxruntime fastapi uvicorn python-multipart
  MODEL=model.onnx uvicorn server:app --host 0.0.0.0 --port 8000

POST /segment with the image as form field "image". The answer is JSON: ``width``, ``height``,
``segments`` (id, class_name, category_id, class_index, isthing, score, area, box) and ``ids_png``,
a PNG in base64 whose pixels say the segment: id = R + 256 G + 65536 B, 0 is void. GET /health says
which model is served. http://localhost:8000/docs is a page to try it.
"""

import base64
import io
import os
from typing import Annotated, Any

from fastapi import FastAPI, File, HTTPException, UploadFile

try:  # installed
    from d2_psformer.deployment.images import read_image
    from d2_psformer.deployment.model import Model, id_picture
except ModuleNotFoundError:  # the folder alone lies beside this file, as in the Dockerfiles
    from deployment.images import read_image
    from deployment.model import Model, id_picture


def create_app(model: Model) -> FastAPI:
    """The server of a model with panoptic results."""
    app = FastAPI(title="Panoptic segmentation")

    @app.get("/health")
    def health() -> dict[str, Any]:
        classes = [category["name"] for category in model.settings["categories"]]
        return {"architecture": model.settings["architecture"], "classes": classes}

    # A plain function runs in a thread: the server answers others meanwhile.
    @app.post("/segment")
    def segment(image: Annotated[UploadFile, File()]) -> dict[str, Any]:
        try:
            pixels = read_image(image.file, image.filename)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        result = model(pixels)
        buffer = io.BytesIO()
        id_picture(result.panoptic).save(buffer, "PNG")
        return {
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "segments": result.segments,
            "ids_png": base64.b64encode(buffer.getvalue()).decode(),
        }

    return app


def __getattr__(name: str) -> FastAPI:
    """``app`` for uvicorn, made when it is asked for."""
    if name != "app":
        raise AttributeError(name)
    providers = os.environ.get("PROVIDERS", "CPUExecutionProvider").split(",")
    threads = int(os.environ.get("THREADS", "0"))
    return create_app(Model(os.environ["MODEL"], threads=threads, providers=tuple(providers)))
