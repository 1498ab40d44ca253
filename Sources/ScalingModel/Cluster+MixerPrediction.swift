public import Attention

extension Cluster {
  /// Predicts one pass of an operator with a summary, a scan or a ring.
  ///
  /// The pieces of a scan are stepped rank by rank: a rank computes a piece when it has computed
  /// the one before and the rank before it has sent its state; or ranks compute first what those
  /// after them wait for. A summary is two exchanges of all
  /// with all; a halo is one message, which is waited for; of a ring it counts what a hop takes
  /// longer than a block is computed with.
  ///
  /// - Precondition: each rank has tokens.
  /// - Complexity: O(P · pieces).
  public func predict(_ work: MixerWork, ranks: Int, pass: AttentionPass) -> Prediction {
    let crowded = crowded(ranks: ranks)
    let slowdown = coreSlowdown(ranks: ranks)
    let most = (work.tokens + ranks - 1) / ranks
    let speed = crowded.kernel.flopsPerSecond(tokens: Double(most), pass, isMasked: false)
    let sharing = crowded.turns(ranks: ranks)
    let computing =
      work.flopsPerToken * Double(most) / (speed * Double(threads)) * sharing
    var (fill, sending, delays) = (0.0, 0.0, 0.0)
    for exchange in work.exchanges where ranks > 1 {
      switch exchange {
      case .scan(let pieces, let bytes, let effect):
        let waiting = crowded.scanSeconds(
          pieces: pieces, bytes: bytes, effect: effect, ranks: ranks, computing: computing)
        fill = waiting.fill
        sending += waiting.bytes
        delays += waiting.delay
      case .summary(let bytes):
        let parts = crowded.exchangeSeconds(
          bytes: bytes * Double(ranks - 1) / Double(ranks), ranks: ranks)
        sending += 2 * parts.bytes
        delays += 2 * parts.delay
      case .halo(let rows, let rowBytes):
        let step = crowded.seconds(of: Double(rows) * rowBytes, ranks: ranks)
        sending += step.bytes
        delays += step.delay
      case .ring(let tokenBytes, let returning):
        let exposed = crowded.ringSeconds(
          block: tokenBytes * Double(most), sums: returning * Double(most), ranks: ranks,
          computing: computing)
        sending += exposed.bytes
        delays += exposed.delay
      }
    }
    let seconds = computing + fill + sending + delays + startUp
    let flops = work.flopsPerToken * Double(work.tokens)
    let mean = computing * Double(work.tokens) / Double(ranks * most)
    let alone =
      flops
      / (kernel.flopsPerSecond(tokens: Double(work.tokens), pass, isMasked: false)
        * Double(threads))
    let efficiency = alone / (Double(ranks) * seconds)
    let losses: [(Prediction.Limit, Double)] = [
      (.bandwidth, sending), (.latency, delays), (.heads, fill), (.imbalance, computing - mean),
      (.cores, mean * (1 - 1 / (slowdown * sharing))),
    ]
    return Prediction(
      ranks: ranks, hosts: hosts(ranks: ranks), seconds: seconds, computeSeconds: mean,
      exposedSeconds: max(0, seconds - computing), imbalanceSeconds: computing - mean,
      bytesSentPerRank: work.sent(ranks: ranks).bytes,
      residentBytes: work.residentBytes(most), flops: flops, efficiency: efficiency,
      limit: efficiency > 0.98 ? .none : losses.max { $0.1 < $1.1 }?.0 ?? .none)
  }

  /// What a scan takes beyond computing: what ranks wait for their first state, or what they
  /// compute so that others need not, and what states need on their way.
  ///
  /// - Parameter effect: what it takes to compute what a rank's tokens do to any state, over the
  ///   pass; nil where they go on when they are computed.
  func scanSeconds(
    pieces: Int, bytes: Double, effect: Double?, ranks: Int, computing: Double
  ) -> (fill: Double, bytes: Double, delay: Double) {
    let piece = bytes / Double(max(1, pieces))
    let step = seconds(of: piece, ranks: ranks)
    let hops = Double(ranks - 1)
    if let effect {
      // The first rank knows of as many pieces as ranks come after it what its tokens do to them
      // before it computes them, so that all begin when they know that of one.
      let ahead = Double(min(pieces, ranks - 1)) / Double(max(1, pieces))
      return (computing * effect * ahead, step.bytes * hops, step.delay * hops)
    }
    let end = scanEnd(ranks: ranks, pieces: pieces, bytes: piece, computing: computing)
    let waiting = max(0, end - computing)
    let way = min(waiting, (step.bytes + step.delay) * hops)
    return (waiting - way, min(way, step.bytes * hops), max(0, way - step.bytes * hops))
  }

  /// What blocks that go round take beyond the computing that they travel in: what a hop takes
  /// longer than a block is computed with, what the cores do for it, and the last sums' way home.
  private func ringSeconds(
    block: Double, sums: Double, ranks: Int, computing: Double
  ) -> (bytes: Double, delay: Double) {
    let link = hosts(ranks: ranks) > 1 ? network : inside
    let hops = Double(ranks - 1)
    let visit = computing / Double(ranks)
    let work = 2 * (block + sums) * link.cpuSecondsPerByte
    let way = (block + sums) / link.bytesPerSecond
    let bytes = max(0, way - visit)
    let delay = max(0, way + link.latency - visit) - bytes
    let home = seconds(of: sums, ranks: ranks)
    let last = sums > 0 ? home : (bytes: 0, delay: 0)
    return ((bytes + work) * hops + last.bytes, delay * hops + last.delay)
  }

  /// How many threads want each core.
  private func turns(ranks: Int) -> Double {
    guard let cores else { return 1 }
    let here = sharesCores ? ranks : min(ranks, ranksPerHost)
    return max(1, Double(here * threads) / Double(cores))
  }

  /// When the last rank has computed its last piece.
  private func scanEnd(ranks: Int, pieces: Int, bytes: Double, computing: Double) -> Double {
    let piece = computing / Double(max(1, pieces))
    let homes = hostsOfRanks(ranks)
    var arrivals = [Double](repeating: 0, count: max(1, pieces))
    var end = 0.0
    for rank in 0..<ranks {
      end = 0
      let link = rank + 1 < ranks && homes[rank] == homes[rank + 1] ? inside : network
      let way =
        link.latency + bytes / link.bytesPerSecond + 2 * bytes * link.cpuSecondsPerByte
      for index in arrivals.indices {
        end = max(end, arrivals[index]) + piece
        arrivals[index] = end + way
      }
    }
    return end
  }

  /// What a message takes, of bytes and without them, over the slowest way that it may go.
  func seconds(of bytes: Double, ranks: Int) -> (bytes: Double, delay: Double) {
    let link = hosts(ranks: ranks) > 1 ? network : inside
    return (bytes / link.bytesPerSecond + 2 * bytes * link.cpuSecondsPerByte, link.latency)
  }

  /// What it takes that each rank sends so many bytes, in equal parts to all others.
  private func exchangeSeconds(bytes: Double, ranks: Int) -> (bytes: Double, delay: Double) {
    let here = min(ranks, ranksPerHost)
    let others = Double(ranks - here) / Double(max(1, ranks - 1))
    let leaving = bytes * others * Double(here)
    let between = leaving / network.bytesPerSecond + 2 * bytes * others * network.cpuSecondsPerByte
    let near =
      bytes * (1 - others)
      * (1 / self.inside.bytesPerSecond + 2 * self.inside.cpuSecondsPerByte)
    return (max(between, near), others > 0 ? network.latency : self.inside.latency)
  }
}
