import Glibc
import Attention
import Models
import Reporting

/// What `gyre perplexity` has found out.
struct PerplexityReport: Encodable {
  /// Tokens that are about as far from the beginning of their context.
  struct Bucket: Encodable {
    let first: Int
    let end: Int
    let tokens: Int
    let nll: Double
    let perplexity: Double

    init(first: Int, end: Int, tokens: Int, nll: Double) {
      self.first = first
      self.end = end
      self.tokens = tokens
      self.nll = nll
      perplexity = exp(nll)
    }
  }

  let model: String
  let architecture: String
  let parameters: Int
  let tokens: Int
  let countedTokens: Int
  let context: Int
  let ropeScaling: String
  let window: Nullable<Int>
  let sinks: Nullable<Int>
  let cacheType: String
  let ranks: Int
  let threads: Int
  let nll: Double
  let perplexity: Double
  let byPosition: [Bucket]
  let seconds: Double
  let prefillTokensPerSecond: Double
  let bytesSent: Int
  let weightBytes: Int
  let ownBytesNeeded: Int
  /// Of the rank that had most, with the pages of weights that it has read.
  let peakResidentBytes: Int

  init(
    model open: OpenModel, sums: PositionSums, tokens: Int, computedTokens: Int, seconds: Double,
    bytesSent: Int, peakResidentBytes: Int, options: PerplexityCommand, ranks: Int,
    memory: RunMemory?
  ) {
    model = options.model.model
    architecture = open.decoder.architecture
    parameters = open.decoder.parameters
    self.tokens = tokens
    countedTokens = sums.count
    context = min(options.context ?? tokens, tokens)
    ropeScaling = options.model.ropeScaling?.description ?? "model"
    window = Nullable(value: options.model.window)
    sinks = Nullable(value: options.model.sinks)
    cacheType = options.model.cacheType.rawValue
    self.ranks = ranks
    threads = open.team.threads
    nll = sums.mean
    perplexity = exp(sums.mean)
    byPosition = sums.byPosition
    self.seconds = seconds
    prefillTokensPerSecond = Double(computedTokens) / seconds
    self.bytesSent = bytesSent
    weightBytes = open.decoder.weightBytes
    ownBytesNeeded = memory?.ownBytes ?? 0
    self.peakResidentBytes = peakResidentBytes
  }

  /// A table by position, and a summary.
  var text: String {
    let rows =
      [["positions", "tokens", "−ln p", "perplexity"]]
      + byPosition.map {
        [
          "\(grouped($0.first))–\(grouped($0.end - 1))", grouped($0.tokens), fixed($0.nll, 4),
          threeDigits($0.perplexity),
        ]
      }
    return """
      \(table(rows, names: []))

      Perplexity \(fixed(perplexity, 4)) of \(grouped(countedTokens)) tokens, −ln p \
      \(fixed(nll, 5)).
      \(formatSeconds(seconds)), \(threeDigits(prefillTokensPerSecond)) tokens a second on \
      \(counted(ranks, "rank")) of \(counted(threads, "thread")); a rank's own memory \
      \(formatBytes(Double(ownBytesNeeded))) beside \(formatBytes(Double(weightBytes))) of weights.
      """
  }
}
