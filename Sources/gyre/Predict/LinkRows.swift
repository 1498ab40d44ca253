import ScalingModel

/// What gyre bench link has found out about links.
struct LinkRows {
  /// Between hosts; nil if that was not measured.
  let network: Link?
  /// Inside a host.
  let inside: Link?

  init(_ rows: [ResultRow]) {
    let links = rows.filter { $0.benchmark == "link" && $0["kind"]?.string == "shift" }
    network = Self.link(links.filter { $0["sameHost"]?.bool == false })
    inside = Self.link(links.filter { $0["sameHost"]?.bool == true })
  }

  /// The line through the times of messages of different sizes: latency, and seconds a byte.
  private static func link(_ rows: [ResultRow]) -> Link? {
    let points = rows.compactMap { row in
      row["bytes"]?.double.flatMap { bytes in row["seconds"]?.double.map { (bytes, $0) } }
    }
    guard let short = points.min(by: { $0.0 < $1.0 }), let long = points.max(by: { $0.0 < $1.0 }),
      long.0 > short.0, long.1 > short.1
    else { return nil }
    let work = rows.max { ($0["bytes"]?.double ?? 0) < ($1["bytes"]?.double ?? 0) }
      .flatMap { $0["cpuSeconds"]?.double }
    return Link(
      latency: short.1, bytesPerSecond: (long.0 - short.0) / (long.1 - short.1),
      // A rank sends and receives.
      cpuSecondsPerByte: (work ?? 0) / (2 * long.0))
  }
}
