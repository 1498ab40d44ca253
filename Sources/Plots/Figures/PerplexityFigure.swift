import Reporting
import Results

extension PlotKind {
  /// Perplexity of the same tokens against the context that they are foretold from.
  func perplexity(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("context", "perplexity")
    var series = rows.groups(along: "context", leading: "scheme").map { group in
      Series(
        label: group.label.isEmpty ? "measured" : group.label, style: group.style,
        points: group.rows.compactMap { row in
          guard let context = row.positive("context"), let value = row.positive("perplexity")
          else { return nil }
          return Point(x: context, y: value)
        })
    }
    sortByLastPoint(&series)
    return Figure(
      title: "Perplexity of the same tokens from longer contexts",
      panels: [
        Panel(
          x: Axis(
            title: "tokens of the context", scale: .logarithmic,
            ticks: .at(rows.rows.compactMap { $0["context"] })),
          y: Axis(title: "perplexity", scale: .logarithmic), series: series)
      ])
  }
}
