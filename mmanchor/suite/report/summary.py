"""The summary of a suite: which model to take, why, and how sure that is."""

from collections.abc import Mapping, Sequence

from ..comparisons import (
    Difference,
    ImageAnswers,
    accuracy_difference,
    rejection_difference,
)
from ..results import Point, SuiteResults
from .table import number, signed


def summary(
    results: SuiteResults, answers: Mapping[str, ImageAnswers] | None = None
) -> list[str]:
    """Answer in three sentences which model to take, why and how sure it is.

    The rule: a model has to be better than the first one on the set that
    decides, which is the first corrupted set, or else the first shifted set,
    or else the clean one. Of the models that are level with the best of
    these, the cheapest is taken. If none is better, the first model is.

    Args:
        answers (Mapping[str, ImageAnswers], optional): What each model
            answered to each image. Defaults to None: differences have no
            intervals.

    Returns:
        List[str]: Sentences on accuracy, on confidence and rejection, and on
        cost. One model alone is described.

    Example:
        >>> figures = dict(top1=90.0, top1_low=88.0, top1_high=92.0)
        >>> model = dict(name='a', clean=dict(figures=figures))
        >>> summary(SuiteResults(dict(models=[model])))[0]
        '“a” is right on 90.0 % of the clean images (95 % interval 88.0 to \
92.0).'
    """
    if not results.models:
        return []
    if len(results.models) == 1:
        return _description(results, results.models[0])
    return _Comparison(results, answers or {}).sentences()


def passes(results: SuiteResults) -> dict[str, float]:
    """Passes through the network for each clean image, by model.

    An ensemble needs those of all members.
    """
    counts = {}
    for model in results.content['models']:
        used = results.value(model['name'], results.clean, 'mean_used')
        members = model.get('ensemble') or 1
        counts[model['name']] = members * (1.0 if used is None else used)
    return counts


def best_score(
    results: SuiteResults, model: str, name: str
) -> tuple[str, float] | None:
    """The anomaly score of a model with the largest AUROC on a set, in %."""
    areas = {
        score: results.value(model, Point(name, score=score), 'auroc')
        for score in results.scores(model, name)
    }
    known = {score: area for score, area in areas.items() if area is not None}
    if not known:
        return None
    best = max(known, key=known.__getitem__)
    return best, 100 * known[best]


def quoted(name: str) -> str:
    """A name between quotation marks."""
    return f'“{name}”'


def joined(parts: Sequence[str]) -> str:
    """Join parts of a sentence by commas and "and".

    Example:
        >>> joined(['a', 'b', 'c'])
        'a, b and c'
    """
    *others, last = parts
    return f'{", ".join(others)} and {last}' if others else last


def _description(results: SuiteResults, model: str) -> list[str]:
    """Describe one model alone."""
    words = '95 % interval '

    def interval(point: Point, metric: str, scale: float = 1) -> str:
        nonlocal words
        ends = results.interval(model, point, metric)
        if ends is None:
            return ''
        low, high = (number(scale * end) for end in ends)
        text, words = f' ({words}{low} to {high})', ''
        return text

    shares, errors, parts = [], [], []
    for point, title in _titles(results).items():
        value = results.value(model, point, 'top1')
        if value is not None:
            ends = interval(point, 'top1')
            shares.append(f'{number(value)} % of {title}{ends}')
        error = results.value(model, point, 'ece')
        if error is not None:
            errors.append(f'{number(error, 3)} on {title}')
    if errors:
        parts.append(f'Its calibration error (ECE) is {joined(errors)}')
    for name in results.sets('ood')[:1]:
        found = best_score(results, model, name)
        if found:
            score, area = found
            ends = interval(Point(name, score=score), 'auroc', 100)
            parts.append(
                f'the score {score} detects images of {name} best, with an '
                f'AUROC of {number(area)} %{ends}'
            )
    cost = f'Each image takes {_passes(passes(results)[model])} through the '
    sentences = [
        f'{quoted(model)} is right on {joined(shares)}' if shares else '',
        '; '.join(parts),
        f'{cost}network',
    ]
    return [f'{one}.' for one in sentences if one]


class _Comparison:
    """Compares the models of a suite with the first one."""

    def __init__(
        self, results: SuiteResults, answers: Mapping[str, ImageAnswers]
    ):
        self.results, self.answers = results, answers
        self.base = results.models[0]
        self.titles = _titles(results)
        self.cost = passes(results)
        names = [*results.corrupted_sets, *results.sets('shifts')]
        self.decides = next(
            (one for one in map(Point, names) if self._known(one)),
            results.clean,
        )
        self.taken, self.best = self._choose()
        self.names_interval = True  # the first interval says what it is

    def sentences(self) -> list[str]:
        """The sentences; those that nothing was measured for are left out."""
        found = (self._accuracy(), self._trust(), self._costs())
        return [f'{one}.' for one in found if one]

    def _known(self, point: Point, metric: str = 'top1') -> dict[str, float]:
        """A metric of each model that has it."""
        values = {
            model: self.results.value(model, point, metric)
            for model in self.results.models
        }
        return {one: v for one, v in values.items() if v is not None}

    def _difference(self, one: str, other: str, point: Point) -> Difference:
        """How much more accurate one model is than another."""
        found = None
        if {one, other} <= set(self.answers):
            found = accuracy_difference(
                self.answers[one], self.answers[other], point.set
            )
        values = self._known(point)
        return found or Difference(values[one] - values[other])

    def _choose(self) -> tuple[str | None, str | None]:
        """The model to take, and the most accurate other than the first."""
        values = self._known(self.decides)
        others = [one for one in values if one != self.base]
        if not others:
            return None, None
        best = max(others, key=values.__getitem__)
        if self.base not in values:
            return best, best

        def gain(one: str, other: str) -> Difference:
            return self._difference(one, other, self.decides)

        better = [one for one in others if gain(one, self.base).is_gain]
        if not better:
            return self.base, best
        best = max(better, key=values.__getitem__)
        level = [
            one for one in better if one == best or gain(best, one).is_level
        ]
        return min(level, key=self.cost.__getitem__), best

    def _accuracy(self) -> str:
        base, where = quoted(self.base), self.titles[self.decides]
        if self.taken is None or self.best is None:
            return ''
        if self.base not in self._known(self.decides):
            value = number(self._known(self.decides)[self.taken])
            return (
                f'{quoted(self.taken)} is the most accurate on {where} '
                f'({value} %); {base}, the first model, was not measured there'
            )
        if self.taken == self.base:
            shown = self.best
            text = (
                f'Keep {base}: on {where} no other model is better beyond '
                f'chance; the best of them, {quoted(shown)}, is '
            )
        else:
            shown = self.taken
            text = f'Take {quoted(shown)}: on {where} it is '
        text += self._compared(shown, self.decides)
        for point, title in self.titles.items():
            measured = self._known(point)
            if point != self.decides and {shown, self.base} <= set(measured):
                text += f'; on {title} it is {self._compared(shown, point)}'
        return text

    def _compared(self, model: str, point: Point) -> str:
        """Compare the accuracy of a model with that of the first one."""
        difference = self._difference(model, self.base, point)
        values = self._known(point)
        return (
            f'{_relation(difference)} {quoted(self.base)} '
            f'({number(values[model])} against {number(values[self.base])} % '
            f'right{self._interval(difference)})'
        )

    def _interval(self, difference: Difference) -> str:
        """The interval of a difference; of a level one, the mean as well."""
        low, high = difference.low, difference.high
        if low is None or high is None:
            return ''
        words = '95 % interval ' if self.names_interval else ''
        self.names_interval = False
        if difference.is_level:
            mean = _signed(difference.mean)
            ends = f'{_signed(low)} to {_signed(high)}'
            return f'; difference {mean}, {words}{ends}'
        low, high = sorted((abs(low), abs(high)))
        return f'; {words}{number(low)} to {number(high)}'

    def _trust(self) -> str:
        """How far confidences can be trusted, and how well images are told."""
        return '; '.join(filter(None, (self._calibration(), self._found())))

    def _calibration(self) -> str:
        shown = {
            model: number(value, 3)
            for model, value in self._known(self.decides, 'ece').items()
        }
        if len(shown) < 2:
            return ''
        # of errors that look the same, those of these models come first
        order = dict.fromkeys((self.taken, self.base, *shown))
        order = [one for one in order if one in shown]
        best = min(order, key=lambda one: float(shown[one]))
        same = [one for one in order if shown[one] == shown[best]]
        others = [
            one
            for one in dict.fromkeys((self.base, self.taken))
            if one in shown and one not in same
        ] or sorted(set(order) - set(same), key=lambda one: float(shown[one]))
        against = [f'{shown[one]} of {quoted(one)}' for one in others[:2]]
        return (
            f'the calibration error on {self.titles[self.decides]} (ECE, '
            f'which has no interval) is smallest with '
            f'{joined([quoted(one) for one in same])}, {shown[best]}'
            + (f' against {joined(against)}' if against else '')
        ).replace('the', 'The', 1)

    def _found(self) -> str:
        """Which model tells a set from the clean images best."""
        for name in self.results.sets('ood'):
            scores = {
                model: best
                for model in self.results.models
                if (best := best_score(self.results, model, name))
            }
            if len(scores) > 1:
                return self._compared_scores(name, scores)
        return ''

    def _compared_scores(
        self, name: str, scores: dict[str, tuple[str, float]]
    ) -> str:
        ranked = sorted(scores, key=lambda one: -scores[one][1])
        best = ranked[0]
        other = next(
            one
            for one in (self.base, self.taken, *ranked[1:])
            if one in scores and one != best
        )
        found = None
        if {best, other} <= set(self.answers):
            found = rejection_difference(
                self.answers[best],
                self.answers[other],
                name,
                (scores[best][0], scores[other][0]),
            )
        difference = found or Difference(scores[best][1] - scores[other][1])

        def text(model: str) -> str:
            return f'{quoted(model)} with the score {scores[model][0]}'

        sentence = (
            f'{text(best)} detects images of {name} best (AUROC '
            f'{number(scores[best][1])} %), {_relation(difference)} '
            f'{text(other)} '
            f'({number(scores[other][1])} %{self._interval(difference)})'
        )
        if self.taken in scores and self.taken not in (best, other):
            area = number(scores[self.taken][1])
            sentence += f'; {text(self.taken)} has {area} %'
        return sentence

    def _costs(self) -> str:
        by_cost: dict[str, list[str]] = {}
        for model, count in self.cost.items():
            by_cost.setdefault(_passes(count), []).append(quoted(model))
        if len(by_cost) == 1:
            (count,) = by_cost
            text = f'For each image, every model takes {count} through the '
            text += 'network'
        else:
            costs = [
                f'{count} with {joined(models)}'
                for count, models in by_cost.items()
            ]
            text = 'Each image takes, through the network, ' + joined(costs)
        best, taken = self.best, self.taken
        if best and taken and taken not in (best, self.base):
            difference = self._difference(best, taken, self.decides)
            text += (
                f'; {quoted(best)}, the most accurate on '
                f'{self.titles[self.decides]}, is level with {quoted(taken)} '
                f'there{self._interval(difference).replace("; ", ": ", 1)}'
            )
        return text


def _relation(difference: Difference) -> str:
    """Words for a difference: level, better or worse by how many points."""
    if difference.is_level:
        return 'level with'
    word = 'better' if difference.mean > 0 else 'worse'
    return f'{number(abs(difference.mean))} points {word} than'


def _titles(results: SuiteResults) -> dict[Point, str]:
    """How sentences name the sets."""
    return {
        one: 'the clean images' if one == results.clean else one.set
        for one in results.points
    }


def _signed(value: float) -> str:
    text = signed(value)
    return '0.0' if text == '+0.0' else text


def _passes(count: float) -> str:
    """A number of passes in words.

    Example:
        >>> _passes(1.0), _passes(2.13)
        ('one pass', '2.1 passes')
    """
    text = number(count).removesuffix('.0')
    return 'one pass' if text == '1' else f'{text} passes'
