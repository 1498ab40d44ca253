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
  /// Of the rank that had most, with the pages of weights that it has read.
  let peakResidentBytes: Int
  /// Of all ranks: what attention has sent while they read together, and of partial results for
  /// tokens that each of them computes.
  let readingBytesSent: Int
  let mergingBytesSent: Int

  init(
    command: GenerateCommand, _ open: OpenModel, prompt: Int, generated: [Int], text: String,
    ended: Ending, prefillSeconds: Double, decodeSeconds: Double, sums: GenerationSums,
    memory: RunMemory, ranks: Int
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
