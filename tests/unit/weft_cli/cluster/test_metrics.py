"""Reading a text exposition: labels, escapes, and lines that are none."""

from weft_cli.cluster.metrics import Sample, read_samples

TEXT = r"""# HELP weft_a Something.
# TYPE weft_a gauge
weft_a 3
weft_b{pod="shop/web",state="captured"} 1.0
weft_c{text="a \"b\" \\ c\n"} NaN
python_info{version="3.11"} 1
weft_d{x="1"} not-a-number
weft_
"""


def test_samples_of_a_prefix() -> None:
    found = list(read_samples(TEXT, "weft_"))
    assert found[0] == Sample("weft_a", {}, 3.0)
    assert found[1] == Sample("weft_b", {"pod": "shop/web", "state": "captured"}, 1.0)
    assert (found[2].name, found[2].labels) == ("weft_c", {"text": 'a "b" \\ c\n'})
    assert len(found) == 3


def test_without_a_prefix_everything_is_read() -> None:
    assert [sample.name for sample in read_samples(TEXT)][-1] == "python_info"
