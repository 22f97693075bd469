"""A strict reader of Prometheus' text format 0.0.4: what does not follow it is an AssertionError with its line."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
HELP = re.compile(rf"# HELP ({NAME}) (.*)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)")
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
ESCAPED = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


def _labels(text, line):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"labels: {line!r}"
        assert found[1] not in labels, f"a label twice: {line!r}"
        labels[found[1]] = re.sub(r'\\["\\n]', lambda m: ESCAPED[m[0]], found[2])
        at = found.end()
    return labels


def _value(text, line):
    assert re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?Inf|NaN", text), f"value: {line!r}"
    return float(text)


class Exposition:
    """families: {name: (type, help)}; samples: {(name, frozenset of labels): value}"""

    def __init__(self, body):
        text = body.decode("utf-8")
        assert text.endswith("\n"), "the last line ends"
        self.families, self.samples, self.help, self.family = {}, {}, {}, None
        for line in text[:-1].split("\n"):
            self._line(line)
        for name, (kind, _) in self.families.items():
            if kind == "histogram":
                self._check_histogram(name)

    def _line(self, line):
        if line.startswith("#"):
            self._comment(line)
            return
        found = SAMPLE.fullmatch(line)
        assert found, f"neither comment nor sample: {line!r}"
        name, labels = found[1], _labels(found[2] or "", line)
        assert self._family_of(name) == self.family, f"outside of its family: {line!r}"
        key = (name, frozenset(labels.items()))
        assert key not in self.samples, f"a series twice: {line!r}"
        self.samples[key] = _value(found[3], line)
        if self.families[self.family][0] != "gauge":
            assert self.samples[key] >= 0, line

    def _comment(self, line):
        found = HELP.fullmatch(line)
        if found:
            assert found[1] not in self.help, f"HELP twice: {line!r}"
            self.help[found[1]] = found[2]
            return
        found = TYPE.fullmatch(line)
        assert found, f"a strange comment: {line!r}"
        assert found[1] in self.help and found[1] not in self.families, f"HELP, then TYPE, once: {line!r}"
        self.family = found[1]
        self.families[self.family] = (found[2], self.help[self.family])

    def _family_of(self, name):
        if name in self.families:
            return name
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if self.families.get(base, ("",))[0] == "histogram" else None

    def _check_histogram(self, name):
        series = {}
        for (sample, labels), value in self.samples.items():
            if sample == f"{name}_bucket":
                rest = frozenset(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        assert series, name
        for labels, buckets in series.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, (name, bounds)
            assert list(counts) == sorted(counts), (name, counts)
            assert counts[-1] == self.samples[(f"{name}_count", labels)], name
            assert (f"{name}_sum", labels) in self.samples, name

    def get(self, name, **labels):
        """One series' value; 0 when there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0)

    def all(self, name):
        """[(labels, value)] of one name."""
        return [(dict(labels), value) for (sample, labels), value in self.samples.items() if sample == name]

    def sum(self, name):
        return sum(value for _, value in self.all(name))
