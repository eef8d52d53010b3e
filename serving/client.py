"""Asks a server of SavedModels over REST, as any client would."""

import base64
import json
import urllib.error
import urllib.request

from serving.errors import RequestError


class Client:
    """A server at `url`, e.g. http://127.0.0.1:8501; `token` is what it asks clients for."""

    def __init__(self, url: str, token: str | None = None):
        self.url = url.rstrip("/")
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def predict(
        self, model: str, inputs: dict[str, list], signature: str = "serving_default"
    ) -> dict[str, list]:
        """A batch of each input by name -> outputs by name; bytes are packed for the way.

        Raises:
            RequestError: the server is away, or refuses; in its words.
        """
        columns = {name: [_packed(one) for one in column] for name, column in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        address = f"{self.url}/v1/models/{model}:predict"
        request = urllib.request.Request(address, body, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["outputs"]
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
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["error"]
    except (ValueError, KeyError, TypeError):
        return f"the server answers {error.code} {error.reason}"
