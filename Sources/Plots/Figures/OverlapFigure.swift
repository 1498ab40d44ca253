import Reporting
import Results

extension PlotKind {
  /// Times with and without overlap, and of the transfers alone, over that of computing alone.
  func overlap(_ rows: PlotRows) throws -> Figure {
    let shown = try rows.having("seconds", "computeOnlySeconds")
    let parts: [(field: String, label: String, color: Color)] = [
      ("noOverlapSeconds", "without overlap", .vermillion), ("seconds", "with overlap", .blue),
      ("transferSeconds", "transfers alone", .sky),
    ]
    var names: [String] = []
    var notes: [Note] = []
    var points: [[Point]] = parts.map { _ in [] }
    for (index, (row, name)) in zip(shown.rows, shown.names).enumerated() {
      guard let alone = row.positive("computeOnlySeconds"), let seconds = row.seconds else {
        continue
      }
      names.append(
        "\(name.isEmpty ? tokens(row) : name), computing \(formatTime(alone))"
          .split(separator: ", ").joined(separator: "\n"))
      for (place, part) in parts.enumerated() {
        guard let value = row.positive(part.field) else { continue }
        let middle = Double(index) + Double(place - 1) * 0.26
        let isMeasured = part.field == "seconds"
        points[place].append(
          Point(
            x: middle, y: value / alone, low: isMeasured ? seconds.low / alone : nil,
            high: isMeasured ? seconds.high / alone : nil, left: middle - 0.12,
            right: middle + 0.12))
      }
      if let hidden = row["hiddenFraction"] {
        let highest = max(row["noOverlapSeconds"] ?? 0, seconds.high, row["transferSeconds"] ?? 0)
        notes.append(
          Note(
            text: "\(fixed(hidden * 100, 0)) % hidden", x: Double(index), y: highest / alone,
            position: .above))
      }
    }
    var series = zip(parts, points).map { part, points in
      Series(
        label: part.label, style: .init(form: .bars, color: part.color), points: points)
    }
    series.append(
      Series(
        label: "computing alone", style: .init(form: .guide, dash: 2),
        points: [Point(x: -0.6, y: 1), Point(x: Double(names.count) - 0.4, y: 1)]))
    let highest = series.flatMap(\.points).map { $0.high ?? $0.y }.max() ?? 1
    return Figure(
      title: "What overlapping transfers with computation saves",
      panels: [
        Panel(
          x: Axis(title: "", ticks: .names(names)),
          y: Axis(
            title: "time, over that of computing alone", lower: 0, upper: max(1.1, highest * 1.12)),
          series: series, notes: notes)
      ])
  }

  private func tokens(_ row: ResultRow) -> String {
    KeyWording.phrase(["tokens"], of: row.fields)
  }
}
