"""How a drawing looks, in light and in dark. Every rule is bound to ``svg.tf-diagram``, so that it leaves a page alone
into which the drawing is pasted. States differ in mark, outline and word, not in colour only.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
svg.tf-diagram{--tf-ink:#1f2933;--tf-soft:#52606d;--tf-line:#7b8794;--tf-box:#ffffff;--tf-edge:#9aa5b1;--tf-area:#3e4c5910;
--tf-area-edge:#9aa5b166;--tf-back:#ffffff;--tf-done:#e3f4e8;--tf-done-edge:#2f7d4a;--tf-running:#e1effc;--tf-running-edge:#1d6fb8;
--tf-waiting:#fff3d6;--tf-waiting-edge:#a86a00;--tf-failed:#fde5e3;--tf-failed-edge:#b8322a;--tf-cancelled:#eceef0;
--tf-cancelled-edge:#616e7c;max-width:100%;height:auto;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){svg.tf-diagram{--tf-ink:#e4e7eb;--tf-soft:#b0bac5;--tf-line:#8793a0;--tf-box:#27313c;
--tf-edge:#66737f;--tf-area:#cbd2d912;--tf-area-edge:#66737f99;--tf-back:#161c23;--tf-done:#1d3a28;--tf-done-edge:#63c285;
--tf-running:#17334e;--tf-running-edge:#6cb3f0;--tf-waiting:#453209;--tf-waiting-edge:#f0b53f;--tf-failed:#4a211e;
--tf-failed-edge:#f2857c;--tf-cancelled:#303942;--tf-cancelled-edge:#9aa5b1}}
svg.tf-diagram text{fill:var(--tf-ink);font-size:13px;text-anchor:middle}
svg.tf-diagram .tf-small{font-size:11px;fill:var(--tf-soft)}
svg.tf-diagram .tf-left{text-anchor:start}
svg.tf-diagram .tf-page{fill:var(--tf-back)}
svg.tf-diagram .tf-way{fill:none;stroke:var(--tf-line);stroke-width:1.3}
svg.tf-diagram .tf-way.tf-back-way{stroke-dasharray:5 3}
svg.tf-diagram .tf-head{fill:var(--tf-line)}
svg.tf-diagram .tf-frame{fill:var(--tf-area);stroke:var(--tf-area-edge);stroke-width:1}
svg.tf-diagram .tf-shape{fill:var(--tf-box);stroke:var(--tf-edge);stroke-width:1.3}
svg.tf-diagram .tf-trigger .tf-shape{stroke-dasharray:2 2}
svg.tf-diagram .tf-start .tf-shape{fill:var(--tf-soft);stroke:none}
svg.tf-diagram .tf-start text{fill:var(--tf-back)}
svg.tf-diagram .tf-fork .tf-shape,svg.tf-diagram .tf-join .tf-shape,
svg.tf-diagram .tf-merge .tf-shape{fill:var(--tf-line);stroke:none}
svg.tf-diagram .tf-done .tf-shape{fill:var(--tf-done);stroke:var(--tf-done-edge);stroke-width:1.6}
svg.tf-diagram .tf-running .tf-shape{fill:var(--tf-running);stroke:var(--tf-running-edge);stroke-width:2.2;
stroke-dasharray:8 3}
svg.tf-diagram .tf-waiting .tf-shape{fill:var(--tf-waiting);stroke:var(--tf-waiting-edge);stroke-width:3.2}
svg.tf-diagram .tf-failed .tf-shape{fill:var(--tf-failed);stroke:var(--tf-failed-edge);stroke-width:2.2}
svg.tf-diagram .tf-cancelled .tf-shape{fill:var(--tf-cancelled);stroke:var(--tf-cancelled-edge);stroke-width:1.3;
stroke-dasharray:3 3}
svg.tf-diagram .tf-disc{stroke:var(--tf-back);stroke-width:1.5}
svg.tf-diagram .tf-done .tf-disc{fill:var(--tf-done-edge)}
svg.tf-diagram .tf-running .tf-disc{fill:var(--tf-running-edge)}
svg.tf-diagram .tf-waiting .tf-disc{fill:var(--tf-waiting-edge)}
svg.tf-diagram .tf-failed .tf-disc{fill:var(--tf-failed-edge)}
svg.tf-diagram .tf-cancelled .tf-disc{fill:var(--tf-cancelled-edge)}
svg.tf-diagram .tf-mark{fill:none;stroke:var(--tf-back);stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}
svg.tf-diagram .tf-count{fill:var(--tf-box);stroke:var(--tf-edge);stroke-width:1}
""".strip()
