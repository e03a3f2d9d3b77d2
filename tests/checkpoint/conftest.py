"""Small backbones, and a machine without a network."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Files are files: nothing here may open a connection."""

    def refuse(*_, **__):
        raise socket.gaierror("no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
