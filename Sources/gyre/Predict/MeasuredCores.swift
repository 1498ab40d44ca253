import Benchmarks
import Reporting
import Results
import ScalingModel

/// What gyre bench kernel has found out about cores that work at the same time.
struct MeasuredCores {
  /// What cores take from each other; nil if no number of copies but one was measured.
  let curve: CoreCurve?
  /// What they read together; nil if it was not measured for several numbers of them.
  let memory: MemoryCurve?

  init(_ rows: [ResultRow]) {
    let kernels = rows.filter { $0.benchmark == "kernel" }
    curve = Self.curve(kernels)
    var readings: [Double: [Double]] = [:]
    for row in kernels {
      guard let threads = row.positive("threads"),
        let rate = row.positive("memoryBandwidthBytesPerSecond")
      else { continue }
      readings[threads * Double(row.copiesAtOnce), default: []].append(rate)
    }
    memory =
      readings.count < 2
      ? nil
      : MemoryCurve(
        readings.map { MemoryCurve.Point(cores: $0.key, bytesPerSecond: median($0.value)) })
  }

  /// Of each number of copies, the median over all that was measured of their times over those of
  /// one.
  private static func curve(_ rows: [ResultRow]) -> CoreCurve? {
    // Copies of one thread; all else is the same in the row of one copy.
    let copies = rows.filter { $0.fields["threads"]?.int == 1 }
    func identity(_ row: ResultRow) -> [String: JSONValue] {
      row.identity.filter { $0.key != "copies" }
    }
    let alone = Dictionary(
      copies.filter { $0.copiesAtOnce == 1 }.compactMap { row in
        row.positive("flopsPerSecond").map { (identity(row), $0) }
      }
    ) { $1 }
    var times: [Int: [(mean: Double, slowest: Double)]] = [:]
    for row in copies where row.copiesAtOnce > 1 {
      guard let one = alone[identity(row)], let mean = row.positive("flopsPerSecond"),
        let slowest = row.positive("slowestFlopsPerSecond")
      else { continue }
      times[row.copiesAtOnce, default: []].append((one / mean, one / slowest))
    }
    if times.isEmpty { return nil }
    return CoreCurve(
      times.map { count, times in
        CoreCurve.Point(
          cores: Double(count), mean: median(times.map(\.mean)),
          slowest: median(times.map(\.slowest)))
      })
  }
}

private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

extension ResultRow {
  /// How many copies of its problem a row of gyre bench kernel computed at the same time; files of
  /// earlier versions had one.
  var copiesAtOnce: Int { fields["copies"]?.int ?? 1 }
}
