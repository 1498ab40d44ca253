package import Attention
import Reporting

/// One row of the kernel benchmark.
package typealias KernelBenchResult = WithPattern<KernelBenchFields>

/// What such a row has besides the masks.
package struct KernelBenchFields: Encodable {
  let pass: KernelPass
  let headDim: Int
  let valueHeadDim: Int
  let tokens: Int
  let queries: Int
  let queryHeads: Int
  let kvHeads: Int
  let dtype: String
  let threads: Int
  let reproducible: Bool
  /// What products are computed of; null if of `Float`.
  let arithmetic: Nullable<String>
  /// The limit of scores; null if they stay as they are.
  let softcap: Nullable<Double>
  let alibi: Bool
  /// Which columns are turned with each other by their positions; null if none are.
  let rope: Nullable<String>
  /// How many of the problem were computed at the same time, each by threads of its own.
  let copies: Int
  /// The median, of the slowest copy.
  let seconds: Double
  /// The bounds of its confidence interval.
  let secondsLow: Double
  let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  /// Of one copy, in the mean time of all.
  let flopsPerSecond: Double
  /// Of the slowest copy.
  let slowestFlopsPerSecond: Double
  /// Of one core with this arithmetic, measured between the repeats.
  let fmaPeakFlopsPerSecond: Double
  /// Of the peak of as many cores as there are threads.
  let fractionOfPeak: Double
  /// Keys and values of all copies, each byte counted once however often it was read.
  let bytesPerSecond: Double
  /// Of reading memory and nothing else, on the threads of all copies, between the repeats.
  let memoryBandwidthBytesPerSecond: Double
  let fractionOfBandwidth: Double
  /// Of queries and keys, by all threads, in time that is part of the pass; null if none are.
  let turnedColumnsPerSecond: Nullable<Double>
}
