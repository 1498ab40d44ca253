import Attention

/// What ranks and threads of a host take from each other, beyond cores that they share.
extension Cluster {
  /// How many ranks of a host, or of hosts that share their cores, are at work together.
  private func neighbours(ranks: Int) -> Int { sharesCores ? ranks : min(ranks, ranksPerHost) }

  /// How many times as long a rank computes as it would with nobody beside it.
  func coreSlowdown(ranks: Int) -> Double {
    let neighbours = neighbours(ranks: ranks)
    return coreCurve?.slowdown(
      ranks: neighbours, threads: threads, cores: cores ?? neighbours * threads) ?? 1
  }

  /// How many times as long as their mean the slowest of ranks computes that have as much to do;
  /// nil where threads share cores, which makes them differ in other ways.
  func coreUnevenness(ranks: Int) -> Double? {
    let neighbours = neighbours(ranks: ranks)
    guard let cores, neighbours * threads <= cores else { return nil }
    return coreCurve?.unevenness(ranks: neighbours, threads: threads, cores: cores) ?? 1
  }

  /// The machines as one of so many ranks finds them: cores slowed down by their neighbours, and
  /// memory that all ranks of a host copy in.
  ///
  /// A byte between two ranks of a host is copied into shared memory by one and out of it by the
  /// other. A copy reads a byte, reads the line that it overwrites, and writes it: each end moves
  /// three bytes, all ranks at once.
  func crowded(ranks: Int) -> Cluster {
    var result = self
    let slowdown = coreSlowdown(ranks: ranks)
    for pass in [AttentionPass.forward, .backward] {
      result.kernel.scale(by: 1 / slowdown, pass)
    }
    let copying = Double(min(neighbours(ranks: ranks), cores ?? .max))
    if let memory, copying > 1 {
      let share = memory.bytesPerSecond(cores: copying) / copying
      result.inside.cpuSecondsPerByte = max(inside.cpuSecondsPerByte, 3 / share)
      result.inside.bytesPerSecond = min(inside.bytesPerSecond, share / 6)
    }
    return result
  }

  /// The same machines with links that cost nothing, as if each rank had all that it needs.
  var withoutTransfers: Cluster {
    var result = self
    result.network = Link(latency: 0, bytesPerSecond: .greatestFiniteMagnitude)
    result.inside = result.network
    result.memory = nil
    return result
  }
}
