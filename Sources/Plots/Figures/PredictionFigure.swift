import Reporting
import Results

extension PlotKind {
  /// Where it stops scaling, and why: time and efficiency against ranks, with what the lost time
  /// goes to where a tenth of it is lost first, and at the end.
  func predictions(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("ranks", "seconds", "efficiency")
    let groups = rows.groups(along: "ranks", ignoring: ["hosts", "tokens"], leading: "transport")
    let axis = Axis(title: "ranks", scale: .logarithmic, ticks: .at(ranks(of: groups)))
    var times: [Series] = []
    var efficiencies: [Series] = []
    var notes: [Note] = []
    for group in groups {
      let label = group.label.isEmpty ? "predicted" : group.label
      times.append(
        Series(
          label: label, style: group.style,
          points: group.rows.compactMap { timePoint($0, along: "ranks") }))
      efficiencies.append(
        Series(
          label: label, style: group.style,
          points: group.rows.compactMap { row in
            row["ranks"].flatMap { ranks in
              row["efficiency"].map { Point(x: ranks, y: $0) }
            }
          }))
      let lossy = group.rows.filter { ($0["efficiency"] ?? 1) < 0.9 }
      var named = ""
      for row in [lossy.first, lossy.last].compactMap({ $0 }) {
        guard let ranks = row["ranks"], let efficiency = row["efficiency"],
          let limit = row.fields["limit"]?.string, limit != named
        else { continue }
        named = limit
        notes.append(Note(text: limit, x: ranks, y: efficiency, color: group.style.color))
      }
    }
    sortByLastPoint(&times)
    let tokens = Set(rows.rows.compactMap { $0.fields["tokens"]?.int })
    if tokens.count == 1, let one = times.flatMap(\.points).min(by: { $0.x < $1.x }),
      let last = ranks(of: groups).max(), last > one.x
    {
      times.append(
        Series(
          label: "ideal", style: .init(form: .guide, dash: 2),
          points: [one.x, last].map { Point(x: $0, y: one.y * one.x / $0) }))
    }
    let problem = tokens.count == 1 ? ": \(grouped(tokens.first ?? 0)) tokens" : ""
    return Figure(
      title: "Where it stops scaling, and why\(problem)",
      panels: [
        Panel(
          title: "Time", x: axis,
          y: Axis(title: "time of one pass", scale: .logarithmic, format: tickSeconds),
          series: times),
        Panel(
          title: "Efficiency, and what the rest is lost to", x: axis,
          y: Axis(title: "efficiency", format: tickPercent, lower: 0, upper: 1.1),
          series: efficiencies, notes: notes),
      ])
  }

  private func ranks(of groups: [PlotRows.Group]) -> [Double] {
    groups.flatMap(\.rows).compactMap { $0["ranks"] }
  }
}
