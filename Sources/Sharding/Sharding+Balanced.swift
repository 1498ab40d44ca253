import Tensors

extension Sharding {
  /// Divides a sequence so that all ranks hold the same cost, or costs in proportion to weights.
  ///
  /// Neighbours stay together as far as that goes. First every rank gets one run, as long as its
  /// cost wants it. Where one would hold more than ``mostOverMean`` times the mean number of
  /// tokens, the sequence is cut into as many pieces of equal length as there are ranks, or two,
  /// four … up to 32 times as many. The costliest go first, each to the rank that has least; then
  /// the ends of pieces move between neighbours until their ranks have the same. The fewest pieces
  /// count with which no rank has more than 2 % too much, or else the best.
  ///
  /// Pieces begin at multiples of 64 tokens where the sequence is long enough, or of fewer where
  /// so many cost much, and are not cut below 128 unless they cost more than twice their mean.
  ///
  /// - Parameters:
  ///   - cost: of a range of positions; not negative, and the sum of those of its parts.
  ///   - granularity: tokens of a unit, which is never divided.
  ///   - weights: one for each rank, finite, not negative and not all zero; nil if all are equal.
  /// - Complexity: O(ranks · log ranks) questions about costs.
  public init(
    balancing cost: @escaping (Range<Int>) -> Double, tokens: Int, ranks: Int, granularity: Int = 1,
    weights: [Double]? = nil
  ) {
    precondition(ranks >= 1, "a sequence needs a rank to hold it")
    precondition(weights.map { $0.count == ranks } ?? true, "a weight for each rank")
    let balancer = Balancer(
      cost: cost, tokens: tokens, ranks: ranks, granularity: granularity, weights: weights)
    self.init(layout: .balanced, tokens: tokens, shards: balancer.shards())
  }

  /// How many times the mean number of tokens a rank may hold in the balanced layout; where ranks
  /// have weights, times its share of them over the mean if that is more.
  public static let mostOverMean = 1.5
}

/// One division of a sequence that is to balance its cost.
private struct Balancer {
  let cost: (Range<Int>) -> Double
  let tokens: Int
  let ranks: Int
  /// Tokens at multiples of which the sequence may be cut.
  let unit: Int
  /// Of each rank over their mean.
  let shares: [Double]
  /// The most tokens that each rank may hold.
  let most: [Int]

  /// A run of the sequence, in tokens, and who holds it.
  private struct Piece {
    var range: Range<Int>
    var rank: Int
  }

  init(
    cost: @escaping (Range<Int>) -> Double, tokens: Int, ranks: Int, granularity: Int,
    weights: [Double]?
  ) {
    self.cost = cost
    self.tokens = tokens
    self.ranks = ranks
    var unit = granularity
    // As kernels like it, and so fine that 32 fit into the shard of a rank.
    while granularity == 1, unit < 64, tokens / ranks / (2 * unit) >= 32 { unit *= 2 }
    // And so fine that none costs more than a hundredth of the mean, as far as a look tells.
    let dear = cost(0..<tokens) / Double(ranks) * 0.01
    while unit > granularity, Self.costliest(unit, of: tokens, cost) > dear { unit /= 2 }
    self.unit = unit
    let largest = weights?.reduce(0, max) ?? 1
    let normal = weights?.map { $0 / largest } ?? [Double](repeating: 1, count: ranks)
    let mean = normal.reduce(0, +) / Double(ranks)
    shares = normal.map { $0 / mean }
    let even = Double(tokens) / Double(ranks) * Sharding.mostOverMean
    most = shares.map { $0 == 0 ? 0 : Int((even * max(1, $0)).rounded(.up)) + 2 * unit }
  }

  /// What a unit costs at most, of up to 8,192 at equal distances.
  private static func costliest(
    _ unit: Int, of tokens: Int, _ cost: (Range<Int>) -> Double
  ) -> Double {
    let count = tokens / unit
    let step = max(1, count / 8192)
    return Swift.stride(from: 0, to: count, by: step).reduce(0) {
      max($0, cost($1 * unit..<($1 + 1) * unit))
    }
  }

  func shards() -> [[PositionRange]] {
    var best: (pieces: [Piece], excess: Double)?
    func consider(_ pieces: [Piece]) -> Bool {
      let excess = excess(of: pieces)
      // More runs have to be worth it.
      if best.map({ excess < $0.excess - 0.005 }) ?? true { best = (pieces, excess) }
      return excess <= 0.02
    }
    if let pieces = inOneRun(), consider(pieces) { return lists(pieces) }
    for factor in [1, 2, 4, 8, 16, 32] {
      if factor > 2, tokens / (factor * ranks) < 128 { break }
      if consider(levelled(dealt(factor))) { break }
    }
    return lists(best?.pieces ?? [])
  }

  // MARK: Ways to divide

  /// One run a rank, of equal cost; nil where some would be too long.
  private func inOneRun() -> [Piece]? {
    let total = cost(0..<tokens)
    guard total > 0 else { return nil }
    var pieces: [Piece] = []
    var (start, share) = (0, 0.0)
    for rank in 0..<ranks {
      share += shares[rank] / Double(ranks)
      let isLast = !shares[(rank + 1)...].contains { $0 > 0 }
      let end = isLast ? tokens : cut(at: share * total, from: start)
      if end - start > most[rank] { return nil }
      pieces.append(Piece(range: start..<end, rank: rank))
      start = end
    }
    return pieces
  }

  /// The multiple of the unit at which the sequence so far costs about so much.
  private func cut(at wanted: Double, from start: Int) -> Int {
    var (low, high) = (start / unit, (tokens + unit - 1) / unit)
    while low < high {
      let middle = (low + high) / 2
      if cost(0..<min(tokens, middle * unit)) < wanted { low = middle + 1 } else { high = middle }
    }
    let (above, below) = (min(tokens, low * unit), max(start, min(tokens, (low - 1) * unit)))
    return cost(0..<above) - wanted <= wanted - cost(0..<below) ? above : below
  }

  /// Pieces of equal length, or shorter where they would cost more than twice the mean; the
  /// costliest first, each to the rank that has least for its weight.
  private func dealt(_ factor: Int) -> [Piece] {
    let units = Sharding.units(of: tokens, granularity: unit)
    let sizes = Sharding.evenSizes(of: units, ranks: min(units, factor * ranks))
    let most = 2 * cost(0..<tokens) / Double(max(1, sizes.count))
    var start = 0
    var pieces = sizes.flatMap { size in
      let first = start
      start += size
      let whole = cost(first * unit..<min(tokens, start * unit))
      let parts = whole > most ? min(size, Int(whole / most) + 1) : 1
      return (0..<parts).map { part in
        let ends = (first + size * part / parts, first + size * (part + 1) / parts)
        return Piece(range: ends.0 * unit..<min(tokens, ends.1 * unit), rank: 0)
      }
    }
    let costs = pieces.map { cost($0.range) }
    var queue = RankQueue(shares: shares)
    for index in pieces.indices.sorted(by: { (-costs[$0], $0) < (-costs[$1], $1) }) {
      pieces[index].rank = queue.give(
        cost: costs[index], tokens: pieces[index].range.count, most: self.most)
    }
    return shares.allSatisfy { $0 == 1 } ? inOrder(pieces) : pieces
  }

  /// The same with ranks numbered in the order of their first tokens, so that neighbours hold what
  /// lies side by side.
  private func inOrder(_ pieces: [Piece]) -> [Piece] {
    var numbers = [Int?](repeating: nil, count: ranks)
    var next = 0
    return pieces.map { piece in
      if numbers[piece.rank] == nil {
        numbers[piece.rank] = next
        next += 1
      }
      return Piece(range: piece.range, rank: numbers[piece.rank] ?? 0)
    }
  }

  /// Moves the ends of pieces from ranks that have more to neighbours that have less.
  private func levelled(_ pieces: [Piece]) -> [Piece] {
    var pieces = pieces
    var loads = [Double](repeating: 0, count: ranks)
    var held = [Int](repeating: 0, count: ranks)
    for piece in pieces {
      loads[piece.rank] += cost(piece.range)
      held[piece.rank] += piece.range.count
    }
    for _ in 0..<4 {
      for index in pieces.indices.dropLast() {
        let (left, right) = (pieces[index], pieces[index + 1])
        let (a, b) = (left.rank, right.rank)
        guard a != b, shares[a] > 0, shares[b] > 0 else { continue }
        // What would make both equal, of which the piece that shrinks gives half at most.
        let wanted = (loads[a] * shares[b] - loads[b] * shares[a]) / (shares[a] + shares[b])
        if wanted == 0 { continue }
        let end = left.range.upperBound
        let moved =
          wanted > 0
          ? -prefix(of: wanted, of: left.range.count / 2 / unit) { cost(end - $0..<end) }
          : prefix(of: -wanted, of: right.range.count / 2 / unit) { cost(end..<end + $0) }
        guard moved != 0, held[a] + moved <= most[a], held[b] - moved <= most[b] else { continue }
        let amount = moved > 0 ? cost(end..<end + moved) : -cost(end + moved..<end)
        pieces[index].range = left.range.lowerBound..<end + moved
        pieces[index + 1].range = end + moved..<right.range.upperBound
        loads[a] += amount
        loads[b] -= amount
        held[a] += moved
        held[b] -= moved
      }
    }
    return pieces
  }

  /// As many tokens, in whole units, as cost no more than is wanted.
  private func prefix(of wanted: Double, of units: Int, _ cost: (Int) -> Double) -> Int {
    var (low, high) = (0, units)
    while low < high {
      let middle = (low + high + 1) / 2
      if cost(middle * unit) <= wanted { low = middle } else { high = middle - 1 }
    }
    return low * unit
  }

  // MARK: What comes of it

  /// By how much the rank that has most for its weight is above the mean, as a part of it.
  private func excess(of pieces: [Piece]) -> Double {
    var loads = [Double](repeating: 0, count: ranks)
    for piece in pieces { loads[piece.rank] += cost(piece.range) }
    let mean = loads.reduce(0, +) / Double(ranks)
    guard mean > 0 else { return 0 }
    return loads.indices.reduce(0) {
      shares[$1] > 0 ? max($0, loads[$1] / shares[$1] / mean - 1) : $0
    }
  }

  /// Runs of each rank, those that touch joined.
  private func lists(_ pieces: [Piece]) -> [[PositionRange]] {
    var shards = [[PositionRange]](repeating: [], count: ranks)
    for piece in pieces where !piece.range.isEmpty {
      if let last = shards[piece.rank].last, last.start + last.count == piece.range.lowerBound {
        shards[piece.rank][shards[piece.rank].count - 1] = PositionRange(
          last.start..<piece.range.upperBound)
      } else {
        shards[piece.rank].append(PositionRange(piece.range))
      }
    }
    return shards
  }
}

/// Ranks by how much they have for their weight, those with least first.
private struct RankQueue {
  private let shares: [Double]
  private var loads: [Double]
  private var held: [Int]
  /// A heap: no rank has more than those at twice its place.
  private var heap: [Int]

  init(shares: [Double]) {
    self.shares = shares
    loads = [Double](repeating: 0, count: shares.count)
    held = [Int](repeating: 0, count: shares.count)
    heap = shares.indices.filter { shares[$0] > 0 }
    for place in heap.indices.reversed() { sink(place) }
  }

  private func precedes(_ a: Int, _ b: Int) -> Bool {
    (loads[a] / shares[a], held[a], a) < (loads[b] / shares[b], held[b], b)
  }

  private mutating func sink(_ start: Int) {
    var place = start
    while true {
      let left = 2 * place + 1
      guard left < heap.count else { return }
      let right = left + 1
      let child = right < heap.count && precedes(heap[right], heap[left]) ? right : left
      guard precedes(heap[child], heap[place]) else { return }
      heap.swapAt(child, place)
      place = child
    }
  }

  /// Gives something to the rank with least that has room for it; one without room gets nothing
  /// more, unless nobody has.
  mutating func give(cost: Double, tokens: Int, most: [Int]) -> Int {
    while heap.count > 1, held[heap[0]] + tokens > most[heap[0]] {
      heap[0] = heap[heap.count - 1]
      heap.removeLast()
      sink(0)
    }
    let rank = heap[0]
    loads[rank] += cost
    held[rank] += tokens
    sink(0)
    return rank
  }
}
