"""The CloudFormation template: valid, safe, and in accord with the pipeline and the documents."""

import re
import shlex

import pytest
from botocore.session import get_session
from cfnlint.api import lint

from include.sqs.calls import VISIBILITY_SECONDS
from include.sqs.check import MIN_RECEIVES
from sandbox.queues import LONGEST, MAX_RECEIVES
from tests.support.cloudformation import TEMPLATE, actions, properties, statements, template
from tests.support.documents import DOCUMENTS, commands, name_of

PROJECT = TEMPLATE.parents[2]
MANUAL = (PROJECT / "docs" / "aws.md").read_text()
LARGEST = 51_200  # bytes of a template that is passed in a call
ALARMS = ("BehindAlarm", "DeadLettersAlarm")


def test_cfn_lint_finds_nothing():
    assert list(map(str, lint(TEMPLATE.read_text()))) == []


def test_cfn_lint_finds_a_misspelt_property_and_a_misspelt_action():
    text = TEMPLATE.read_text().replace("VisibilityTimeout:", "VisibilityTimeOut:")
    found = " ".join(map(str, lint(text.replace("sqs:ReceiveMessage", "sqs:RecieveMessage"))))
    assert "'VisibilityTimeOut' was unexpected" in found
    assert "'recievemessage' is not one of" in found


def test_it_needs_no_parameter_and_describes_each():
    for name, parameter in template()["Parameters"].items():
        assert parameter["Description"], name
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(parameter["Default"])), name


QUEUES = "arn:aws:sqs:eu-west-1:123456789012:one", "arn:aws-cn:sqs:cn-north-1:123456789012:two"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:logins"


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("OtherSourceQueueArns", [QUEUES[0], ",".join(QUEUES)], ["one", QUEUES[0] + ",", ", ".join(QUEUES), TOPIC]),
        ("AlarmTopicArn", [TOPIC], ["logins", TOPIC + ".fifo", QUEUES[0]]),
        ("TopicArn", [TOPIC, TOPIC + ".fifo"], ["logins", TOPIC + "," + TOPIC, QUEUES[0]]),
        ("EventSource", ["com.example.accounts"], ["*", '{"source": ["com.example"]}']),
        ("EventBusName", ["default", "of_ours"], ["arn:aws:events:eu-west-1:123456789012:event-bus/of_ours", ""]),
    ],
)
def test_a_parameter_takes_what_it_says(parameter, good, bad):
    pattern = template()["Parameters"][parameter]["AllowedPattern"]
    assert [text for text in good + bad if re.fullmatch(pattern, text)] == good


def test_dead_letters_are_kept_longer_than_the_queues_messages():
    kept = properties("DeadLetterQueue")["MessageRetentionPeriod"]
    assert kept == int(LONGEST) > template()["Parameters"]["RetentionSeconds"]["MaxValue"]


def test_the_queue_fits_the_pipeline():
    assert properties("Queue")["VisibilityTimeout"] == VISIBILITY_SECONDS
    receives = template()["Parameters"]["MaxReceives"]
    assert (receives["MinValue"], receives["Default"]) == (MIN_RECEIVES, MAX_RECEIVES)


def test_what_holds_messages_and_what_reads_them_stay_when_the_stack_is_deleted():
    kept = {name for name, resource in template()["Resources"].items() if "DeletionPolicy" in resource}
    assert kept == {"Queue", "DeadLetterQueue", "Key"}
    for name in kept:
        resource = template()["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


@pytest.mark.parametrize("queue", ["Queue", "DeadLetterQueue"])
def test_a_queue_is_encrypted_and_refuses_a_connection_without_tls(queue):
    assert properties(queue)["KmsMasterKeyId"] == {"GetAtt": "Key.Arn"}
    assert properties(f"{queue}Policy")["Queues"] == [{"Ref": queue}]
    assert statements(f"{queue}Policy")["OnlyEncrypted"] == {
        "Sid": "OnlyEncrypted",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": {"GetAtt": f"{queue}.Arn"},
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


@pytest.mark.parametrize(
    ("sender", "sid", "service"),
    [("Subscription", "TopicSends", "sns.amazonaws.com"), ("Rule", "RuleSends", "events.amazonaws.com")],
)
def test_who_sends_is_named_and_is_allowed_before_it_begins(sender, sid, service):
    statement = statements("QueuePolicy")[sid]
    assert statement["Principal"] == {"Service": service}
    assert actions(statement) == ["sqs:SendMessage"]
    assert statement["Condition"]["ArnEquals"].keys() == {"aws:SourceArn"}
    assert statements("Key", "KeyPolicy")[sid]["Principal"] == {"Service": service}
    assert template()["Resources"][sender]["DependsOn"] == "QueuePolicy"


def test_the_policy_has_the_rights_that_the_documents_list():
    text = (PROJECT / "docs" / "configuration.md").read_text()
    [listed] = re.findall(r"^\*\*AWS\*\*: .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    allowed = {action for statement in statements("Policy").values() for action in actions(statement)}
    of_dead_letters = {action.removeprefix("sqs:") for action in actions(statements("Policy")["DrainDeadLetters"])}
    assert {right if ":" in right else f"sqs:{right}" for right in re.findall(r"`([\w:]+)`", listed)} == allowed
    assert of_dead_letters == {action.removeprefix("sqs:") for action in allowed} - {"kms:Decrypt"}
    queue, _, _ = listed.partition("on the queue")
    assert re.findall(r"`([\w:]+)`", queue) == actions(statements("Policy")["DrainQueue"])


@pytest.mark.parametrize(
    ("alarm", "queue", "metric", "threshold"),
    [
        ("BehindAlarm", "Queue", "ApproximateAgeOfOldestMessage", {"Ref": "AlarmAfterSeconds"}),
        ("DeadLettersAlarm", "DeadLetterQueue", "ApproximateNumberOfMessagesVisible", 0),
    ],
)
def test_an_alarm_fires_above_what_it_says_of_its_queue(alarm, queue, metric, threshold):
    """cfn-lint knows no names of metrics, and the local server makes no alarm."""
    given = properties(alarm)
    assert (given["Namespace"], given["MetricName"], given["Threshold"]) == ("AWS/SQS", metric, threshold)
    assert given["Dimensions"] == [{"Name": "QueueName", "Value": {"GetAtt": f"{queue}.QueueName"}}]
    assert (given["Statistic"], given["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_tells_the_topic_and_is_quiet_without_data(alarm):
    given = properties(alarm)
    topic = {"If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert given["AlarmActions"] == given["OKActions"] == topic
    assert given["TreatMissingData"] == "notBreaching"


def table(heading):
    """The rows of the manual's table with this heading, each as its cells."""
    [rows] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", MANUAL, re.MULTILINE)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def test_the_manual_has_each_parameter_with_its_default():
    parameters = template()["Parameters"].items()
    assert {name: default for name, default, _ in table("parameter")} == {
        name: str(parameter["Default"] or "empty") for name, parameter in parameters
    }


def test_the_manual_has_each_output_and_each_alarm():
    assert [name for name, _ in table("output")] == list(template()["Outputs"])
    names = [properties(alarm)["AlarmName"]["Sub"].replace("${AWS::StackName}", "user-logins") for alarm in ALARMS]
    assert [name for name, _, _ in table("alarm")] == names


CALLS = [
    (path.name, shlex.split(call))
    for path in DOCUMENTS
    for command in commands(name_of(path))
    for call in re.findall(r"(?:^|\$\()(aws [^)]*)", command.text)
]


@pytest.mark.parametrize(("document", "words"), CALLS, ids=[f"{name}: {' '.join(words[1:3])}" for name, words in CALLS])
def test_a_command_of_a_manual_is_one_of_aws(document, words):
    """The command line's own `cloudformation deploy`, `s3` and `--output` aside, each is a call of AWS's API."""
    _, service, command, *options = words
    if service == "s3":
        assert command == "sync"
        assert not options or options[:3] == ["--delete", "build/dags", "s3://BUCKET/dags/user_logins"]  # nobody else's
        return
    options = {name.removeprefix("--"): value for name, value in zip(options[::2], options[1::2], strict=True)}
    if command == "deploy":
        assert (PROJECT / options["template-file"]) == TEMPLATE
        assert options["capabilities"] == "CAPABILITY_IAM"
        return
    model = get_session().get_service_model("s3" if service == "s3api" else service)
    [operation] = [name for name in model.operation_names if name.lower() == command.replace("-", "")]
    members = {name.lower() for name in model.operation_model(operation).input_shape.members}
    assert {name.replace("-", "") for name in options.keys() - {"query", "output"}} <= members


def test_the_manual_deploys_and_has_some_calls():
    assert [name for name, (_, _, command, *_) in CALLS if command == "deploy"] == ["aws.md"]
    assert len(CALLS) >= 15


def test_the_lines_for_terraform_fit_the_template():
    [lines] = re.findall(r"```hcl\n(.*?)```", MANUAL, re.DOTALL)
    [file] = re.findall(r'template_body = file\("(.*)"\)', lines)
    [parameters] = re.findall(r"parameters = \{\n(.*?)\}", lines, re.DOTALL)
    assert PROJECT / file == TEMPLATE
    assert len(TEMPLATE.read_bytes()) < LARGEST
    assert 'capabilities  = ["CAPABILITY_IAM"]' in lines
    assert set(re.findall(r"(\w+) +=", parameters)) <= template()["Parameters"].keys()
    assert set(re.findall(r"--parameter-overrides (\w+)=\S+ (\w+)=", MANUAL)[0]) <= template()["Parameters"].keys()
    named = re.findall(r'aws_cloudformation_stack\.user_logins\.outputs\["(\w+)"\]', lines)
    assert named == ["PolicyArn", "QueueUrl"]
    assert set(named) <= template()["Outputs"].keys()
