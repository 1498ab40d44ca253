import Attention
import Reporting

extension KernelBenchFields: PatternedFields {
  package static let benchmark = "kernel"

  package static let keys =
    ["pass", "headDim", "tokens", "queries", "queryHeads", "kvHeads"] + PatternChoice.fields
    + [
      "dtype", "threads", "reproducible", "valueHeadDim", "softcap", "alibi", "rope",
      "copies", "arithmetic",
    ]

  package static let figures = [
    "seconds", "secondsLow", "secondsHigh", "spread", "flopsPerSecond", "slowestFlopsPerSecond",
    "fmaPeakFlopsPerSecond", "fractionOfPeak", "bytesPerSecond", "memoryBandwidthBytesPerSecond",
    "fractionOfBandwidth", "turnedColumnsPerSecond",
  ]

  package static func table(of results: [KernelBenchResult]) -> [[String]] {
    // Where memory limits any of them, or cores share it.
    let showsBandwidth = results.contains { $0.queries <= 16 || $0.copies > 1 }
    return [header + (showsBandwidth ? bandwidthHeader : [])]
      + results.map {
        $0.fields.cells(under: $0.pattern) + (showsBandwidth ? $0.fields.bandwidthCells : [])
      }
  }

  private static let header = [
    "pass", "mask", "head dim", "tokens", "heads", "type", "threads", "sums", "time", "spread",
    "GFLOP/s", "peak a core", "of peak",
  ]
  private static let bandwidthHeader = ["queries", "K/V GB/s", "memory GB/s", "of memory"]

  package static let columns = header + bandwidthHeader
  package static let keyColumns = 8
  package static let dispensableColumns = [
    "queries", "memory GB/s", "peak a core", "spread", "K/V GB/s",
  ]

  package static func remarks(on results: [KernelBenchResult]) -> [String] {
    let copies =
      results.contains { $0.copies > 1 }
      ? "n × t threads: n copies at the same time; the time is that of the slowest, GFLOP/s are "
        + "those of one, and all read memory together." : nil
    return [copies, Spread.remark(results.map(\.spread))].compactMap { $0 }
  }

  private func cells(under pattern: PatternChoice) -> [String] {
    [
      pass.rawValue,
      "\(pattern)" + (softcap.value == nil ? "" : ", capped") + (alibi ? ", ALiBi" : "")
        + (rope.value == nil ? "" : ", RoPE"),
      headDims(headDim, valueHeadDim), grouped(tokens),
      "\(queryHeads)/\(kvHeads)",
      arithmetic.value.map { "\(dtype), \($0) products" } ?? dtype,
      copies == 1 ? "\(threads)" : "\(copies) × \(threads)",
      reproducible ? "reproducible" : "fast",
      "\(threeDigits(seconds * 1e3)) ms", "\(fixed(spread * 100, 1)) %",
      threeDigits(flopsPerSecond / 1e9), threeDigits(fmaPeakFlopsPerSecond / 1e9),
      "\(fixed(fractionOfPeak * 100, 1)) %",
    ]
  }

  private var bandwidthCells: [String] {
    [
      grouped(queries), threeDigits(bytesPerSecond / 1e9),
      threeDigits(memoryBandwidthBytesPerSecond / 1e9), "\(fixed(fractionOfBandwidth * 100, 1)) %",
    ]
  }
}

/// `128`, or `576/512` if values have another.
func headDims(_ headDim: Int, _ valueHeadDim: Int) -> String {
  headDim == valueHeadDim ? "\(headDim)" : "\(headDim)/\(valueHeadDim)"
}
