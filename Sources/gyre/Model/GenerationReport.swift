import Attention
import Hosts
import MPI
import Models
import Reporting

/// What is told of all ranks together: the most that one has had, and what all have sent.
struct GenerationSums {
  let cacheBytes, cacheBytesNeeded, peakResidentBytes: Int
  let bytesSent: (reading: Int, merging: Int)

  /// Asks all ranks, called by them together.
  init(
    _ generation: Generation, _ memory: RunMemory, on world: borrowing Communicator
  ) throws {
    cacheBytes = try world.allReduce(generation.cacheBytes, with: .max)
    cacheBytesNeeded = try world.allReduce(memory.cache, with: .max)
    peakResidentBytes = try world.allReduce(ProcessMemory.peakResidentBytes, with: .max)
    let own = generation.bytesSent
    bytesSent = (
      try world.allReduce(own.reading, with: .sum), try world.allReduce(own.merging, with: .sum)
    )
  }
}

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
  /// Of the rank that had most, with the pages of weights that it has read.
  let peakResidentBytes: Int
  /// Of all ranks: what attention has sent while they read together, and of partial results for
  /// tokens that each of them computes.
  let readingBytesSent: Int
  let mergingBytesSent: Int

  /// One text after the prompt.
  struct Sample: Encodable {
    let seed: UInt64
    let text: String
    let tokens: [Int]
    let ending: String
  }

  init(
    command: GenerateCommand, _ open: OpenModel, prompt: Int, turns: [GenerateCommand.Turn],
    prefillSeconds: Double, decodeSeconds: Double, sums: GenerationSums, memory: RunMemory,
    ranks: Int
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
    cacheBytes = sums.cacheBytes
    cacheBytesNeeded = sums.cacheBytesNeeded
    ownBytesNeeded = memory.ownBytes
    peakResidentBytes = sums.peakResidentBytes
    (readingBytesSent, mergingBytesSent) = sums.bytesSent
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
