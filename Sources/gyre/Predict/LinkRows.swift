import Reporting
import Results
import ScalingModel

/// What gyre bench link has found out about links.
struct LinkRows {
  /// Between hosts; nil if that was not measured.
  let network: Link?
  /// Inside a host.
  let inside: Link?

  init(_ rows: [ResultRow]) {
    // A pair has its link to itself, and shows what it can do.
    let fits = rows.filter {
      $0.benchmark == "link" && $0.fields["kind"]?.string == "fit"
        && $0.fields["fitOf"]?.string == "pair"
    }
    network = fits.lazy.filter { $0.fields["sameHost"]?.bool == false }.compactMap(Self.link).first
    inside = fits.lazy.filter { $0.fields["sameHost"]?.bool == true }.compactMap(Self.link).first
  }

  private static func link(_ row: ResultRow) -> Link? {
    guard let latency = row["latencySeconds"], let byte = row["secondsPerByte"],
      byte > 0
    else { return nil }
    // A byte is measured sent and received together.
    return Link(
      latency: max(0, latency), bytesPerSecond: 1 / byte,
      cpuSecondsPerByte: max(0, row["cpuSecondsPerByte"] ?? 0) / 2)
  }
}
