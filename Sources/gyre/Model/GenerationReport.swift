import Attention
import Models
import Reporting

/// What `gyre generate` has done.
struct GenerationReport: Encodable {
  let model: String
  let architecture: String
  let text: String
  let tokens: [Int]
  let promptTokens: Int
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

  init(
    command: GenerateCommand, _ open: OpenModel, prompt: Int, generated: [Int], text: String,
    ended: Ending, prefillSeconds: Double, decodeSeconds: Double, cacheBytes: Int,
    cacheBytesNeeded: Int, memory: RunMemory, ranks: Int
  ) {
    model = command.model.model
    architecture = open.decoder.architecture
    self.text = text
    tokens = generated
    promptTokens = prompt
    generatedTokens = generated.count
    ending = ended.name
    self.ranks = ranks
    threads = open.team.threads
    self.prefillSeconds = prefillSeconds
    prefillTokensPerSecond = Double(prompt) / prefillSeconds
    self.decodeSeconds = decodeSeconds
    // The first token comes with the prefill.
    decodeTokensPerSecond = decodeSeconds > 0 ? Double(generated.count - 1) / decodeSeconds : 0
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
