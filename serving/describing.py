"""What the server says of its models: states and signatures, as TensorFlow Serving words them."""

from typing import Any

from serving.errors import RequestError
from serving.models import Model, Version

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    for status, text in {
        400: "The request or the model's inputs are wrong.",
        401: "The token is missing or wrong.",
        404: "No such model or version.",
        408: "The request did not arrive in time.",
        413: "The request is too large.",
        415: "The body is compressed otherwise than with gzip.",
        429: "Too much at once; try again later.",
        503: "Busy or not yet loaded; try again later.",
        504: "There was no answer in time.",
    }.items()
}
_VALUE = {"description": 'A value, nested lists of values; bytes as {"b64": "..."}.'}
PREDICT = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "signature_name": {"type": "string", "default": "serving_default"},
                        "instances": {"type": "array", "minItems": 1, "items": _VALUE},
                        "inputs": _VALUE,
                    },
                    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
                }
            }
        },
    }
}


def status(model: Model, number: int | None) -> dict:
    """GetModelStatusResponse as JSON.

    Raises:
        RequestError: 404, no such version was ever seen.
    """
    states = {key: state for key, state in list(model.states.items()) if number in (None, key)}
    if not states:
        which = "any versions" if number is None else f"version {number}"
        raise RequestError(f"Could not find {which} of model {model.name}", 404)
    return {
        "model_version_status": [
            {
                "version": str(key),
                "state": state,
                "status": {"error_code": "UNKNOWN" if error else "OK", "error_message": error},
            }
            for key, (state, error) in sorted(states.items(), reverse=True)
        ]
    }


def metadata(name: str, version: Version) -> dict:
    """GetModelMetadataResponse as JSON."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": version.definitions}},
    }
