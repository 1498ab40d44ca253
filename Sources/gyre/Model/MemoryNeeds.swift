import Models
import SequenceParallel

/// What memory a model would take on ranks that need not be here.
struct MemoryNeeds {
  let decoder: Decoder
  let options: RunOptions
  let ranks: Int
  let ranksPerHost: Int

  /// No sequence is longer.
  private static let mostTokens = 1 << 36

  private var topology: Topology { Topology(ranks: ranks, ranksPerNode: ranksPerHost) }

  /// The memory of a rank whose whole sequence is the prompt, which takes most.
  private func memory(context: Int, rank: Int) -> RunMemory {
    RunMemory(
      ranksPerHost > 1 ? decoder.sharingCopies() : decoder, prompt: context, context: context,
      options: options, topology: topology, rank: rank)
  }

  /// That of the rank that needs most: shards differ by a few tokens, and the first rank or the
  /// last has the most.
  func largest(context: Int) -> RunMemory {
    let (first, last) = (
      memory(context: context, rank: 0), memory(context: context, rank: ranks - 1)
    )
    return last.ownBytes > first.ownBytes ? last : first
  }

  /// That of the host whose ranks need most together, weights counted once.
  func hostBytes(context: Int) -> Int {
    let most = largest(context: context)
    return most.weights + ranksPerHost * most.ownBytes
  }

  /// The longest sequence for which hosts need no more than so many bytes; 0 if there is none.
  func longestContext(within bytes: Int) -> Int {
    var (fits, most) = (0, min(Self.mostTokens, decoder.mostPositions ?? Self.mostTokens))
    // What fits is searched for by doubling first, since long plans take long to work out.
    var next = min(1024, most)
    while next <= most, hostBytes(context: next) <= bytes {
      fits = next
      if next == most { return fits }
      next = min(2 * next, most)
    }
    most = next
    while most - fits > max(1, fits / 1000) {
      let middle = fits + (most - fits) / 2
      if hostBytes(context: middle) <= bytes { fits = middle } else { most = middle }
    }
    return fits
  }
}
