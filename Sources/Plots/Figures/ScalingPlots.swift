import Reporting
import Results

extension PlotKind {
  /// Speedup against ranks, with the ideal; beside it efficiency, or where the time goes.
  func strongScaling(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("ranks", "seconds")
    let groups = rows.groups(along: "ranks", ignoring: Self.followingRanks + ["tokensPerRank"])
    let hasSpeedup = rows.rows.contains { $0.positive("speedup") != nil }
    let panel = hasSpeedup ? speedups(groups) : times(groups)
    let shown = rows.rows.compactMap { $0.fields["tokens"]?.int }
    let tokens = Set(shown).count == 1 ? ": \(grouped(shown[0])) tokens" : ""
    var second = efficiencies(groups, hasTitle: true)
    if groups.count == 1, let split = split(groups[0]) { second = split }
    return Figure(
      title: "Strong scaling\(tokens)",
      panels: second.series.allSatisfy(\.points.isEmpty) ? [panel] : [panel, second])
  }

  /// Efficiency against ranks as the work grows with them.
  func weakScaling(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("ranks", "seconds", "efficiency")
    let groups = rows.groups(along: "ranks", ignoring: Self.followingRanks + ["tokens"])
    let shown = rows.rows.compactMap { $0.fields["tokensPerRank"]?.int }
    let tokens = Set(shown).count == 1 ? ": \(grouped(shown[0])) tokens per rank" : ""
    return Figure(
      title: "Weak scaling\(tokens)", panels: [efficiencies(groups, hasTitle: false)])
  }

  private static let followingRanks = ["hosts"]

  private func ranksAxis(_ groups: [PlotRows.Group]) -> Axis {
    Axis(
      title: "ranks", scale: .logarithmic,
      ticks: .at(groups.flatMap(\.rows).compactMap { $0["ranks"] }))
  }

  private func speedups(_ groups: [PlotRows.Group]) -> Panel {
    var ideal: [Double: Double] = [:]
    var series = groups.map { group in
      Series(
        label: group.label.isEmpty ? "measured" : group.label, style: group.style,
        points: group.rows.compactMap { row -> Point? in
          guard let ranks = row["ranks"], let speedup = row.positive("speedup"),
            let seconds = row.seconds
          else { return nil }
          // Whatever the speedup is relative to, efficiency is its share of the ideal.
          ideal[ranks] = row.positive("efficiency").map { speedup / $0 } ?? ranks
          return Point(
            x: ranks, y: speedup, low: speedup * seconds.median / seconds.high,
            high: speedup * seconds.median / seconds.low)
        })
    }
    sortByLastPoint(&series)
    series.append(
      Series(
        label: "ideal", style: .init(form: .guide, dash: 2),
        points: ideal.count == 1
          ? ideal.flatMap { ranks, speedup in
            [0.7, 1.4].map { Point(x: ranks * $0, y: speedup * $0) }
          } : ideal.sorted { $0.key < $1.key }.map { Point(x: $0.key, y: $0.value) }))
    let baselines = Set(groups.flatMap(\.rows).compactMap { $0.fields["baseline"]?.string })
    let baseline = baselines.count == 1 ? baselines.first.map { " over \($0)" } ?? "" : ""
    return Panel(
      title: "Speedup\(baseline.count > 40 ? "" : baseline)", x: ranksAxis(groups),
      y: Axis(title: "speedup", scale: .logarithmic, ticks: .doublings), series: series)
  }

  private func times(_ groups: [PlotRows.Group]) -> Panel {
    var series = groups.map { group in
      Series(
        label: group.label.isEmpty ? "measured" : group.label, style: group.style,
        points: group.rows.compactMap { timePoint($0, along: "ranks") })
    }
    sortByLastPoint(&series)
    // From the first point of the slowest.
    if let first = series.first?.points.first, let last = series.first?.points.last {
      series.append(
        Series(
          label: "ideal", style: .init(form: .guide, dash: 2),
          points: [first.x, last.x].map { Point(x: $0, y: first.y * first.x / $0) }))
    }
    return Panel(
      title: "Time", x: ranksAxis(groups),
      y: Axis(title: "time of one pass", scale: .logarithmic, format: tickSeconds), series: series)
  }

  private func efficiencies(_ groups: [PlotRows.Group], hasTitle: Bool) -> Panel {
    var series: [Series] = []
    for group in groups {
      let points = group.rows.compactMap { row -> Point? in
        guard let ranks = row["ranks"], let efficiency = row.positive("efficiency"),
          let seconds = row.seconds
        else { return nil }
        return Point(
          x: ranks, y: efficiency, low: efficiency * seconds.median / seconds.high,
          high: efficiency * seconds.median / seconds.low)
      }
      let name = group.label.isEmpty ? "measured" : group.label
      series.append(Series(label: name, style: group.style, points: points))
      let cleared = group.rows.compactMap { row -> Point? in
        guard let ranks = row["ranks"], let value = row.positive("efficiencyWithoutContention")
        else { return nil }
        return Point(x: ranks, y: value)
      }
      if !cleared.isEmpty {
        var style = group.style
        style.dash = 3
        style.marker -= 1
        series.append(Series(label: "", style: style, points: cleared))
      }
    }
    if series.contains(where: { $0.label.isEmpty }) {
      series.append(
        Series(
          label: "contention taken out",
          style: .init(
            color: groups.count == 1 ? groups[0].style.color : .gray, dash: 3, marker: 6),
          points: []))
    }
    let ranks = groups.flatMap(\.rows).compactMap { $0["ranks"] }
    if series.contains(where: { !$0.points.isEmpty }), let first = ranks.min(),
      let last = ranks.max()
    {
      series.append(
        Series(
          label: "ideal", style: .init(form: .guide, dash: 2),
          points: (first < last ? [first, last] : [0.7 * first, 1.4 * last]).map {
            Point(x: $0, y: 1)
          }))
    }
    let highest = series.flatMap(\.points).map { $0.high ?? $0.y }.max() ?? 1
    return Panel(
      title: hasTitle ? "Efficiency" : "", x: ranksAxis(groups),
      y: Axis(
        title: "efficiency", format: tickPercent, lower: 0, upper: max(1.1, highest * 1.05)),
      series: series)
  }

  /// What the time of each number of ranks consists of; nil where rows do not say.
  private func split(_ group: PlotRows.Group) -> Panel? {
    let parts: [(field: String, label: String, color: Color)] = [
      ("computeSeconds", "computing", .sky), ("exposedSeconds", "waiting for blocks", .vermillion),
      ("imbalanceSeconds", "waiting for slower ranks", .orange),
    ]
    let rows = group.rows.filter { row in parts.contains { row.positive($0.field) != nil } }
    guard !rows.isEmpty else { return nil }
    var feet = rows.map { _ in 0.0 }
    var series: [Series] = []
    for part in parts {
      let points = rows.enumerated().compactMap { index, row -> Point? in
        guard let value = row.positive(part.field), let whole = row.positive("seconds") else {
          return nil
        }
        let foot = feet[index]
        feet[index] += value / whole
        return Point(
          x: Double(index), y: feet[index], left: Double(index) - 0.32,
          right: Double(index) + 0.32, base: foot)
      }
      series.append(
        Series(
          label: part.label, style: .init(form: .bars, color: part.color), points: points))
    }
    let notes = rows.enumerated().compactMap { index, row -> Note? in
      row.positive("efficiency").map {
        Note(
          text: tickPercent(($0 * 100).rounded() / 100), x: Double(index), y: feet[index],
          position: .above)
      }
    }
    return Panel(
      title: notes.isEmpty ? "Where the time goes" : "Where the time goes, and efficiency",
      x: Axis(title: "ranks", ticks: .names(rows.map { plainNumber($0["ranks"] ?? 0) })),
      y: Axis(
        title: "share of the time", format: tickPercent, lower: 0,
        upper: 1.1 * max(1, feet.max() ?? 1)),
      series: series, notes: notes)
  }
}
