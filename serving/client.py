"""Asks a server of SavedModels over REST, as any client would."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any

from serving.errors import RequestError


class Client:
    """A server at `url`, e.g. http://127.0.0.1:8501; `token` is what clients must send."""

    def __init__(self, url: str, token: str | None = None):
        self.url = url.rstrip("/")
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def predict(
        self, model: str, inputs: dict[str, Any], signature: str = "serving_default"
    ) -> Any:
        """Values or nested lists by name -> outputs by name, or the only output.

        Raises:
            RequestError: the server does not answer, or refuses; in its words.
        """
        columns = {name: _packed(value) for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        return self._ask(f"/v1/models/{model}:predict", body)["outputs"]

    def definitions(self, model: str) -> dict[str, dict]:
        """The signatures of a model by name: method_name, inputs and outputs.

        Raises:
            RequestError: the server does not answer, or has no such model.
        """
        return self._ask(f"/v1/models/{model}/metadata")["metadata"]["signature_def"][
            "signature_def"
        ]

    def _ask(self, path: str, body: bytes | None = None) -> dict:
        request = urllib.request.Request(self.url + path, body, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RequestError(_reason(error), error.code) from None
        except OSError as error:
            raise RequestError(f"the server at {self.url} does not answer ({error})", 503) from None

    def ready(self) -> bool:
        """Whether the server answers for every model."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return True
        except OSError:
            return False


def _packed(value: object) -> object:
    if isinstance(value, list):
        return [_packed(item) for item in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["error"]
    except (ValueError, KeyError, TypeError):
        return f"the server answers {error.code} {error.reason}"
