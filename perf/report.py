"""The report: pictures and a summary of what was measured, from the raw files alone.

    make perf-report                                      # of real runs, into perf/results/ and perf/README.md
    python -m perf.report --quick --into /tmp/tried       # of runs that only tried the suite out: README stays as it is

`summary.md` has a row for each condition of P1 to P10 in each workload that speaks for it, and the sheet of all
figures; its first part goes into perf/README.md between the two marks.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perf.comparison import newest, ratios, read_all, spread, values
from perf.harness import OURS, RAW, ROOT, Round
from perf.plots import draw_all
from perf.scaling_model import draw_model, read_costs, table
from perf.targets import HEADING, missing, shown, verdicts

README: Final = ROOT / "perf" / "README.md"
RESULTS: Final = ROOT / "perf" / "results"
BEGIN: Final = "<!-- summary: begin (make perf-report writes it) -->"
END: Final = "<!-- summary: end -->"


def summary(rounds: Sequence[Round]) -> list[str]:
    """The verdicts, and what they were taken on."""
    machines = dict.fromkeys(each.machine.partition(", load average")[0] for each in rounds)
    revisions = dict.fromkeys(each.revision for each in rounds)
    lines = [
        f"Machine: {'; '.join(machines)}. Source: {', '.join(revisions)}. A median is that of the rounds; ratios are taken",
        "within a round. Core distance: the flag's round trip before and after the turn, S below 80 ns, N below 250 ns, X",
        "above; `NN: 12 (3)` is the median of three rounds that began and ended near. The durability is ours.",
        "",
        *HEADING,
        *(each.row() for each in verdicts(rounds)),
    ]
    left = missing(rounds)
    if left:
        lines += ["", "Not measured: " + "; ".join(f"{each.target} {each.wording}" for each in left) + "."]
    return lines


def sheet(rounds: Sequence[Round]) -> list[str]:
    """Every figure: median, least and most of each contestant, and the ratio to it."""
    lines = [
        "| workload | measure | contestant | durability | median | min .. max | shmq : contestant |",
        "| --- | --- | --- | --- | ---: | ---: | ---: |",
    ]
    for workload in dict.fromkeys(each.workload for each in rounds):
        mine = [each for each in rounds if each.workload == workload]
        promises = {each.contestant: each.durability for each in mine}
        for measure in dict.fromkeys(name for each in mine for name in each.figures):
            for contestant, durability in promises.items():
                gave = values(mine, measure, contestant)
                if not gave:
                    continue
                median, least, most = spread(gave)
                compared = ratios(mine, measure, contestant) if contestant != OURS else []
                ratio = "{} ({} .. {})".format(*map(shown, spread(compared))) if compared else ""
                extent = f"{shown(least)} .. {shown(most)}"
                cells = (workload, measure, contestant, durability, shown(median), extent, ratio)
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def with_summary(readme: str, lines: Sequence[str]) -> str:
    """The README with other lines between its marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "perf/README.md has lost the mark where the summary begins"
    assert end, "perf/README.md has lost the mark where the summary ends"
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, default=RAW, help="where the raw files are")
    parser.add_argument("--into", type=Path, default=RESULTS, help="where pictures and summary go")
    parser.add_argument(
        "--quick", action="store_true", help="take runs that only tried, and leave the README alone"
    )
    options = parser.parse_args()
    rounds = newest(read_all(options.raw), quick=options.quick)
    if not rounds:
        parser.error(f"no rounds in {options.raw}: run `make perf` first")
    pictures = draw_all(rounds, options.into)
    lines = summary(rounds)
    costs = read_costs(rounds)
    if costs is not None:
        pictures.append(draw_model(costs, options.into / "scaling_model.svg"))
        lines += ["", "Beyond this machine, by the model (see below):", "", *table(costs)]
    links = [f"* [{path.stem.replace('_', ' ')}](results/{path.name})" for path in pictures]
    whole = ["# Summary", "", *lines, "", "# All figures", "", *sheet(rounds)]
    (options.into / "summary.md").write_text("\n".join(whole) + "\n", encoding="utf-8")
    if not options.quick:
        parts = [*lines, "", "All figures: [summary](results/summary.md). Pictures:", "", *links]
        README.write_text(with_summary(README.read_text(encoding="utf-8"), parts), encoding="utf-8")
    print(f"{len(rounds)} rounds, {len(pictures)} pictures in {options.into}")


if __name__ == "__main__":
    main()
