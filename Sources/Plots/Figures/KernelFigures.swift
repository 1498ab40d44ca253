import Reporting
import Results

extension PlotKind {
  /// Rates against flops a byte of keys and values, under what processor and memory allow.
  func roofline(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having(
      "flopsPerSecond", "bytesPerSecond", "fmaPeakFlopsPerSecond", "memoryBandwidthBytesPerSecond")
    // What a point is told apart by in its series.
    let inside = ["headDim", "queries", "tokens"].first { rows.differ(in: $0) } ?? "headDim"
    func intensity(_ row: ResultRow) -> Double {
      (row["flopsPerSecond"] ?? 0) / (row["bytesPerSecond"] ?? 1)
    }
    var series: [Series] = []
    var notes: [Note] = []
    for group in rows.groups(along: inside) {
      var style = group.style
      style.form = .markers
      let points = group.rows.map { row in
        let rate = row["flopsPerSecond"] ?? 0
        let seconds = row.seconds
        return Point(
          x: intensity(row), y: rate, low: seconds.map { rate * $0.median / $0.high },
          high: seconds.map { rate * $0.median / $0.low })
      }
      series.append(
        Series(
          label: group.label.isEmpty ? "measured" : group.label, style: style, points: points))
      guard rows.differ(in: inside) else { continue }
      for (row, point) in zip(group.rows, points) {
        notes.append(
          Note(
            text: plainNumber(row[inside] ?? 0), x: point.x, y: point.y, color: style.color))
      }
    }
    let points = series.flatMap(\.points)
    let roofs = roofs(
      rows.rows, from: min(0.5, points.map(\.x).min() ?? 1) / 2,
      to: max(64, points.map(\.x).max() ?? 1) * 2)
    let caption =
      rows.differ(in: inside) ? "  (numbers at points: \(KeyWording.words(inside)))" : ""
    return Figure(
      title: "Roofline of the attention kernel",
      panels: [
        Panel(
          x: Axis(
            title: "useful flops for each byte of keys and values" + caption, scale: .logarithmic),
          y: Axis(title: "rate", scale: .logarithmic, format: tickFlops),
          series: series + roofs.lines, notes: roofs.notes + notes)
      ])
  }

  /// What a number of threads can reach: memory's rate times the intensity, at most the peak.
  private func roofs(
    _ rows: [ResultRow], from first: Double, to last: Double
  ) -> (lines: [Series], notes: [Note]) {
    let threads = Set(rows.map { $0["threads"] ?? 1 }).sorted()
    var lines: [Series] = []
    var notes: [Note] = []
    for (index, count) in threads.enumerated() {
      let own = rows.filter { ($0["threads"] ?? 1) == count }
      // The best that was measured between the rows' repeats.
      let peak = count * (own.compactMap { $0["fmaPeakFlopsPerSecond"] }.max() ?? 1)
      let memory = own.compactMap { $0["memoryBandwidthBytesPerSecond"] }.max() ?? 1
      let ridge = peak / memory
      let start = min(first, ridge / 4)
      let end = max(last, ridge * 4)
      lines.append(
        Series(
          label: threads.count == 1
            ? "attainable" : "attainable, \(plainNumber(count)) thread\(count == 1 ? "" : "s")",
          style: .init(form: .guide, dash: 1 + index),
          points: [
            Point(x: start, y: memory * start), Point(x: ridge, y: peak), Point(x: end, y: peak),
          ]))
      notes.append(
        Note(text: "multiply–adds: \(shortFlops(peak))", x: end, y: peak, position: .leftAbove))
      notes.append(
        Note(
          text: "memory: \(threeDigits(memory / 1e9)) GB/s", x: ridge * 0.6,
          y: memory * ridge * 0.6, position: .leftAbove))
    }
    return (lines, notes)
  }

  /// A bar for each row, and the peak.
  func kernelRates(_ rows: PlotRows) throws -> Figure {
    let rows = try rows.having("flopsPerSecond", "seconds")
    let names = rows.names.map { $0.split(separator: ", ").joined(separator: "\n") }
    var bars = Series(label: "measured", style: .init(form: .bars, color: .blue), points: [])
    var peaks = Series(
      label: "multiply–add peak", style: .init(form: .markers, color: .vermillion, marker: 11),
      points: [])
    var notes: [Note] = []
    for (index, row) in rows.rows.enumerated() {
      guard let rate = row["flopsPerSecond"], let seconds = row.seconds else { continue }
      let place = Double(index)
      let high = rate * seconds.median / seconds.low
      bars.points.append(
        Point(
          x: place, y: rate, low: rate * seconds.median / seconds.high, high: high,
          left: place - 0.36, right: place + 0.36))
      if let peak = row.positive("fmaPeakFlopsPerSecond") {
        peaks.points.append(Point(x: place, y: peak * (row["threads"] ?? 1)))
      }
      if let fraction = row["fractionOfPeak"] {
        notes.append(
          Note(
            text: "\(fixed(fraction * 100, 0)) %", x: place, y: high, position: .above))
      }
    }
    let highest = (bars.points + peaks.points).map { $0.high ?? $0.y }.max() ?? 1
    return Figure(
      title: "Rates of the attention kernel, and what part of the peak they are",
      panels: [
        Panel(
          x: Axis(title: "", ticks: .names(names)),
          y: Axis(title: "rate", format: tickFlops, lower: 0, upper: highest * 1.12),
          series: [bars, peaks].filter { !$0.points.isEmpty }, notes: notes)
      ])
  }
}
