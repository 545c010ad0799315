"""A page of any function's gradients: what is wrong, and each gradient beside the right one."""

from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from manual_bp.diagnosis.check import Diagnosis
from manual_bp.text import of_bound
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import Numbers

MOST = 24  # rows and columns of a gradient that are shown


def gradients_page(diagnosis: Diagnosis) -> str:
    """The page as HTML that needs no script and no network."""
    here = files("manual_bp.explorer")
    title = f"{diagnosis.agreement.subject}, against {diagnosis.agreement.network}"
    findings = "".join(f"<li>{escape(str(finding))}</li>" for finding in diagnosis.findings)
    return Template((here / "gradients.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        style=(here / "page.css").read_text(encoding="utf-8"),
        headline=escape(diagnosis.headline),
        hidden="" if findings else "hidden",
        findings=findings,
        notes="".join(f"<li>{escape(note)}.</li>" for note in diagnosis.agreement.notes),
        table=diagnosis.agreement._repr_html_(),
        gradients="".join(map(_of, diagnosis.judged)),
    )


@np.errstate(all="ignore")
def _of(judged: Judged) -> str:
    """One gradient, the right one, and their difference as a part of its bound."""
    if judged.got is None:
        return ""
    got, truth = _as_rows(judged.got.value), _as_rows(judged.truth)
    off = np.abs(_as_rows(judged.got.value - judged.truth))
    bound = _as_rows(np.broadcast_to(judged.bound, judged.truth.shape))
    ratio = np.where(off == 0, 0.0, np.nan_to_num(off / bound, nan=np.inf))
    rows, columns = (_worst(ratio.max(axis=axis, initial=0.0)) for axis in (1, 0))
    shown = np.ix_(rows, columns)
    shape = " × ".join(map(str, judged.truth.shape)) or "a number"
    part = "" if ratio[shown].size == ratio.size else ", its worst rows and columns shown"
    wrong = ratio[shown] > 1
    largest = float(np.abs(truth[np.isfinite(truth)]).max(initial=0.0)) or 1.0
    lines, nothing = (rows, columns), np.zeros_like(wrong)
    tables = [
        _table(f"your {judged.place.symbol}", got[shown], got[shown] / largest, wrong, lines),
        _table(f"the right {judged.place.symbol}", truth[shown], truth[shown] / largest, nothing,
               lines),
        _table("difference over bound", ratio[shown], None, wrong, lines),
    ]  # fmt: skip
    name = escape(judged.place.symbol)
    worst = of_bound(float(ratio.max(initial=0.0)))
    return (
        f'<section class="card"><h2>{name}</h2><p class="hint">{shape}{part}. The worst value '
        f'differs by {worst}.</p><div class="side-by-side">{"".join(tables)}</div></section>'
    )


def _as_rows(array: Any) -> Numbers:
    """A matrix of any array: its last axis across, all others down."""
    array = np.asarray(array, np.float64)
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def _worst(ratios: Numbers) -> Numbers:
    """The numbers of the rows, or columns, that are shown, in their order."""
    if len(ratios) <= MOST:
        return np.arange(len(ratios))
    return np.sort(np.argsort(-ratios, kind="stable")[:MOST])


def _table(
    name: str, values: Numbers, parts: Numbers | None, wrong: Numbers, lines: tuple[Any, Any]
) -> str:
    """Values as coloured cells; without `parts` of the largest one they are ratios to a bound."""
    rows, columns = lines
    head = "".join(f'<th scope="col">{j}</th>' for j in columns)
    body = ""
    for i, row in enumerate(values):
        cells = ""
        for j, value in enumerate(row):
            colour = "off" if parts is None else "negative" if value < 0 else "positive"
            part = abs(value if parts is None else parts[i, j])
            strength = min(1.0, float(np.nan_to_num(part, nan=1.0)))
            label = " wrong" * bool(wrong[i, j]) + " nonfinite" * (not np.isfinite(value))
            said = '<span class="hidden">, wrong</span>' * bool(wrong[i, j])
            cells += (
                f'<td class="{colour}{label}" style="--v:{strength:.3f}" data-at="">'
                f"<span>{value:.3g}{said}</span></td>"
            )
        body += f'<tr><th scope="row">{rows[i]}</th>{cells}</tr>'
    return (
        f'<div class="grid" role="region" tabindex="0" aria-label="{escape(name)}">'
        f'<div class="wide">'
        f"<p>{escape(name)}</p><table><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div></div>"
    )
