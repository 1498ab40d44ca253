import Glibc
import Reporting
import Results

extension PlotKind {
  /// Time against tokens, with guides of the slopes one and two.
  func longNet(_ rows: PlotRows) throws -> Figure {
    try growth(
      rows, "Dilated and dense attention as sequences grow", ignoring: ["branches"],
      leading: "attention")
  }

  /// Time of operators against tokens, with the same guides.
  func mixers(_ rows: PlotRows) throws -> Figure {
    try growth(
      rows, "Operators as sequences grow", ignoring: ["tokensPerRank", "hosts", "sizes", "causal"],
      leading: "mixer")
  }

  private func growth(
    _ rows: PlotRows, _ title: String, ignoring: [String], leading: String
  ) throws -> Figure {
    let rows = try rows.having("tokens", "seconds")
    let groups = rows.groups(along: "tokens", ignoring: ignoring, leading: leading)
    var series = groups.map { group in
      Series(
        label: group.label.isEmpty ? "measured" : group.label, style: group.style,
        points: group.rows.compactMap { timePoint($0, along: "tokens") })
    }
    sortByLastPoint(&series)
    let points = series.flatMap(\.points)
    var notes: [Note] = []
    if let first = points.map(\.x).min(), let last = points.map(\.x).max(), last > first,
      let lowest = points.map(\.y).min(), let highest = points.map(\.y).max()
    {
      // Below the curves the one, above them the other: neither crosses them.
      let linear = points.map { $0.y / $0.x }.min() ?? 1
      let square = points.map { $0.y / $0.x / $0.x }.max() ?? 1
      let guides: [(power: Double, name: String, factor: Double)] = [
        (1, "time ∝ N", linear / 1.6), (2, "time ∝ N²", square * 1.6),
      ]
      for guide in guides {
        // Not far above the curves.
        let end = min(last, pow(2 * highest / guide.factor, 1 / guide.power))
        guard end > first, guide.factor * pow(end, guide.power) > lowest / 4 else { continue }
        let line = [first, end].map { Point(x: $0, y: guide.factor * pow($0, guide.power)) }
        series.append(
          Series(label: "", style: .init(form: .guide, dash: 1), points: line))
        notes.append(
          guide.power == 1
            ? Note(text: guide.name, x: end, y: line[1].y, position: .below)
            : Note(text: guide.name, x: end, y: line[1].y, position: .leftAbove))
      }
    }
    let isProcessorTime = rows.rows.allSatisfy { $0.fields["clock"]?.string == "cpu" }
    return Figure(
      title: title,
      panels: [
        Panel(
          x: tokensAxis(rows),
          y: Axis(
            title: isProcessorTime ? "processor time of one pass" : "time of one pass",
            scale: .logarithmic, format: tickSeconds), series: series, notes: notes)
      ])
  }

  /// Memory of a rank against tokens, or against ranks where tokens are the same.
  func memory(_ rows: PlotRows) throws -> Figure {
    let along = rows.differ(in: "tokens") || !rows.differ(in: "ranks") ? "tokens" : "ranks"
    let rows = try rows.having(along, "peakResidentBytes")
    let axis =
      along == "tokens"
      ? tokensAxis(rows)
      : Axis(title: "ranks", scale: .logarithmic, ticks: .at(rows.rows.compactMap { $0["ranks"] }))
    var series: [Series] = []
    for group in rows.groups(along: along, ignoring: ["tokensPerRank", "hosts"]) {
      series.append(
        Series(
          label: group.label.isEmpty ? "measured" : group.label, style: group.style,
          points: points(group, along, "peakResidentBytes")))
      let formula = points(group, along, "formulaBytes")
      if !formula.isEmpty {
        series.append(
          Series(
            label: "",
            style: .init(form: .guide, color: group.style.color, dash: 2), points: formula))
      }
    }
    sortByLastPoint(&series)
    if series.contains(where: { $0.label.isEmpty }) {
      series.append(Series(label: "formula", style: .init(form: .guide, dash: 2), points: []))
    }
    return Figure(
      title: "Memory of a rank",
      panels: [
        Panel(
          x: axis,
          y: Axis(
            title: "peak memory of a rank", scale: .logarithmic, ticks: .doublings,
            format: tickBytes), series: series)
      ])
  }

  /// Rate of transfers against the size of a message.
  func link(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("bytes", "bytesPerSecond")
    var series = rows.groups(along: "bytes").map { group in
      Series(
        label: group.label.isEmpty ? "measured" : group.label, style: group.style,
        points: group.rows.compactMap { row -> Point? in
          guard let bytes = row["bytes"], let rate = row.positive("bytesPerSecond") else {
            return nil
          }
          let seconds = row.seconds
          return Point(
            x: bytes, y: rate, low: seconds.map { rate * $0.median / $0.high },
            high: seconds.map { rate * $0.median / $0.low })
        })
    }
    sortByLastPoint(&series)
    let limits = Set(
      rows.rows.compactMap { $0.environment["linkBytesPerSecond"]?.double }
    ).sorted()
    let sizes = rows.rows.compactMap { $0["bytes"] }
    for limit in limits.suffix(3) {
      series.append(
        Series(
          label: limits.count == 1 ? "limit of the link" : "link of \(tickRate(limit))",
          style: .init(form: .guide, dash: 2),
          points: [Point(x: sizes.min() ?? 1, y: limit), Point(x: sizes.max() ?? 1, y: limit)]))
    }
    return Figure(
      title: "Rate of messages by their size",
      panels: [
        Panel(
          x: Axis(
            title: "size of a message", scale: .logarithmic, ticks: .doublings, format: tickBytes),
          y: Axis(title: "rate", scale: .logarithmic, format: tickRate), series: series)
      ])
  }

  /// The time of a row, with its confidence interval.
  func timePoint(_ row: ResultRow, along x: String) -> Point? {
    guard let place = row.positive(x), let seconds = row.seconds else { return nil }
    return Point(x: place, y: seconds.median, low: seconds.low, high: seconds.high)
  }

  /// Puts series into the order in which a reader meets their ends, from above.
  func sortByLastPoint(_ series: inout [Series]) {
    series.sort { $0.points.last?.y ?? 0 > $1.points.last?.y ?? 0 }
  }

  private func tokensAxis(_ rows: PlotRows) -> Axis {
    Axis(
      title: "tokens of the sequence", scale: .logarithmic,
      ticks: .at(rows.rows.compactMap { $0["tokens"] }))
  }

  private func points(_ group: PlotRows.Group, _ x: String, _ y: String) -> [Point] {
    group.rows.compactMap { row in
      guard let place = row.positive(x), let value = row.positive(y) else { return nil }
      return Point(x: place, y: value)
    }
  }
}
