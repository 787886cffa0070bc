"""What AWS's error codes mean for the set-up: which ones somebody has to fix, and how."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from include.failures import SetupError

DENIED = {"AccessDenied", "AccessDeniedException", "KMS.AccessDeniedException", "KmsAccessDenied"}
WRONG_SETUP = DENIED | {
    "KmsDisabled",
    "KmsInvalidKeyUsage",
    "KmsInvalidState",
    "KmsNotFound",
    "KmsOptInRequired",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "InvalidAddress",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


def error_name(error: ClientError | BotoCoreError | SetupError) -> str:
    """The error's code or class; its text, unless it is ours, may quote the request."""
    if isinstance(error, SetupError):
        return str(error)
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


@contextmanager
def raising_setup_errors(subject: str) -> Iterator[None]:
    """Turn what AWS says of a wrong queue, key or policy into a SetupError, which is not retried.

    `subject` is what was asked about: a queue's URL, or a connection. botocore has one ClientError
    for a denial and for throttling. The error's own text stays out: for a wrong signature it quotes
    the request.
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in WRONG_SETUP:
            raise
        raise setup_error(subject, error.operation_name, code) from None
    except NoCredentialsError:
        raise SetupError(
            "connection aws_sqs: no credentials found: set login and password, or run with a role"
        ) from None


def setup_error(subject: str, operation: str, code: str) -> SetupError:
    """What AWS answered, and how to fix it, in one sentence."""
    if operation.startswith("Assume"):
        fix = "check role_arn in connection aws_sqs, and that role's trust policy"
    elif "Access" in code:
        fix = f"allow sqs:{operation.removesuffix('Batch')} on it (and kms:Decrypt on its key)"
    elif code.startswith("Kms"):
        fix = "check the key that encrypts it"
    elif "Queue" in code or code == "InvalidAddress":
        fix = (
            "check the queue's URL in its variable, such as user_logins_queue_url, and region_name and endpoint_url in "
            "connection aws_sqs"
        )
    else:
        fix = "check login, password and region_name in connection aws_sqs"
    return SetupError(f"AWS answered {code} to {operation} on {subject}: {fix}")
