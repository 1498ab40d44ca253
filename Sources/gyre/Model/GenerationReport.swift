import Attention
import Models
import Reporting

/// What `gyre generate` has done.
struct GenerationReport: Encodable {
  let model: String
  let architecture: String
  /// Of the first sample, as `tokens` and `ending` are.
  let text: String
  let tokens: [Int]
  let samples: [Sample]
  let promptTokens: Int
  /// Of all samples.
  let generatedTokens: Int
  let ending: String
  let ranks: Int
  let threads: Int
  let prefillSeconds: Double
  let prefillTokensPerSecond: Double
  let decodeSeconds: Double
  let decodeTokensPerSecond: Double
  let weightBytes: Int
  let cacheBytes: Int
  /// As it was checked before, of the rank that needs most.
  let cacheBytesNeeded: Int
  let ownBytesNeeded: Int

  /// One text after the prompt.
  struct Sample: Encodable {
    let seed: UInt64
    let text: String
    let tokens: [Int]
    let ending: String
  }

  init(
    command: GenerateCommand, _ open: OpenModel, prompt: Int, turns: [GenerateCommand.Turn],
    prefillSeconds: Double, decodeSeconds: Double, cacheBytes: Int,
    cacheBytesNeeded: Int, memory: RunMemory, ranks: Int
  ) {
    model = command.model.model
    architecture = open.decoder.architecture
    samples = turns.enumerated().map {
      Sample(
        seed: command.sampling.seed(ofSample: $0), text: $1.text, tokens: $1.tokens,
        ending: $1.ending.name)
    }
    (text, tokens, ending) = (samples[0].text, samples[0].tokens, samples[0].ending)
    promptTokens = prompt
    generatedTokens = turns.reduce(0) { $0 + $1.tokens.count }
    self.ranks = ranks
    threads = open.team.threads
    self.prefillSeconds = prefillSeconds
    prefillTokensPerSecond = Double(prompt) / prefillSeconds
    self.decodeSeconds = decodeSeconds
    // The first token of each comes with the prefill.
    decodeTokensPerSecond =
      decodeSeconds > 0 ? Double(generatedTokens - turns.count) / decodeSeconds : 0
    weightBytes = open.decoder.weightBytes
    self.cacheBytes = cacheBytes
    self.cacheBytesNeeded = cacheBytesNeeded
    ownBytesNeeded = memory.ownBytes
  }

  /// One line.
  var summary: String {
    "gyre: \(counted(promptTokens, "token")) read at \(threeDigits(prefillTokensPerSecond)) a "
      + "second, \(counted(generatedTokens, "token")) written at "
      + "\(threeDigits(decodeTokensPerSecond)); "
      + "\(counted(ranks, "rank")) of \(counted(threads, "thread")), a rank with "
      + "\(formatBytes(Double(cacheBytes))) of keys and values, "
      + "\(formatBytes(Double(weightBytes))) of weights."
  }
}
