import Attention
import AttentionReference
import Loopback
import MPI
import SequenceParallel
import Sharding
import Tensors
import Testing

/// The same attention by every stream, each against the oracle, with shards drawn at random: any
/// runs, in any order, of any size.
@Suite("Attention over streams on the loopback wire")
struct LoopbackAttentionTests {
  @Test("what comes of the plain ring comes of every stream, and is what the oracle says")
  func forward() throws {
    for seed in 1...40 as ClosedRange<UInt64> {
      let problem = RandomShards(seed: seed)
      let expected = problem.expected
      let plain = try problem.forward(by: .plain)
      #expect(plain.difference(from: expected.o, expected.lse) < 1e-5, "\(problem)")
      for way in [RandomShards.Way.rotating, .direct] {
        let output = try problem.forward(by: way)
        #expect(problem.isMet(by: output), "\(problem), \(way): \(output.visits)")
        #expect(output.difference(from: expected.o, expected.lse) < 1e-5, "\(problem), \(way)")
      }
      // Every block passes by every rank.
      #expect(plain.visits.allSatisfy { Set($0.map(\.owner)) == Set(0..<problem.ranks) })
    }
  }
}

/// A problem whose shards are drawn at random.
private struct RandomShards: CustomStringConvertible {
  enum Way { case plain, rotating, direct }

  let seed: UInt64
  let ranks: Int
  let tokens: Int
  let attention: ShardedAttention
  private let groups: [[Int]]
  private let choice: PatternChoice
  private let inputs: MaskInputs

  init(seed: UInt64) {
    self.seed = seed
    var random = SplitMix(seed: seed)
    let ranks = Int.random(in: 1...6, using: &random)
    let tokens = Int.random(in: 1...(seed % 2 == 0 ? 90 : 600), using: &random)
    self.ranks = ranks
    self.tokens = tokens
    func sharding() -> Sharding {
      // Runs of neighbours between random cuts, dealt out at random.
      let cuts = (0..<Int.random(in: 0...12, using: &random)).map { _ in
        Int.random(in: 0...tokens, using: &random)
      }
      let ends = ([0, tokens] + cuts).sorted()
      var shards = [[PositionRange]](repeating: [], count: ranks)
      for (start, end) in zip(ends, ends.dropFirst()).shuffled(using: &random) {
        shards[Int.random(in: 0..<ranks, using: &random)].append(PositionRange(start..<end))
      }
      guard let sharding = try? Sharding(shards: shards, tokens: tokens) else {
        preconditionFailure("the runs between cuts are all positions")
      }
      return sharding
    }
    choice = PatternChoice(Self.masks(tokens: tokens, &random))
    inputs = choice.drawnInputs(
      batch: 2, queryHeads: 4, tokens: tokens, keyTokens: tokens, seed: seed)
    let problem = ShardedAttention(
      shape: AttentionShape(batch: 2, queryHeads: 4, kvHeads: 2, headDim: 12, valueHeadDim: 8),
      queries: sharding(), keys: sharding(), pattern: choice.pattern(inputs))
    // With runs cut where others' sight of them ends.
    attention = RoutePlanner(problem, topology: Topology(ranks: ranks, ranksPerNode: 1)).problem
    let size = Int.random(in: 1...ranks, using: &random)
    groups = stride(from: 0, to: ranks, by: size).map { Array($0..<min($0 + size, ranks)) }
  }

  /// Some masks, of which all must allow a pair.
  private static func masks(tokens: Int, _ random: inout SplitMix) -> [any Mask] {
    func isIn() -> Bool { Int.random(in: 0..<3, using: &random) == 0 }
    var masks: [any Mask] = []
    if !isIn() { masks.append(CausalMask()) }
    if isIn() { masks.append(WindowMask(width: Int.random(in: 1...tokens, using: &random))) }
    if isIn() { masks.append(SinkMask(count: Int.random(in: 0...9, using: &random))) }
    if isIn() {
      masks.append(SegmentMask(isIn() ? .starts : .ids))
    } else if isIn() {
      masks.append(ParallelWindowMask())
    }
    if isIn() { masks.append(PaddingMask()) }
    if isIn() && isIn() { masks.append(StarMask()) }
    return masks
  }

  private func rows(_ tensor: UInt64, heads: Int, headDim: Int) -> RandomRows {
    RandomRows(shape: [2, tokens, heads, headDim], seed: seed, tensor: tensor)
  }

  var description: String { "seed \(seed): \(choice) of \(tokens)" }

  private var q: RandomRows { rows(0, heads: 4, headDim: 12) }
  private var k: RandomRows { rows(1, heads: 2, headDim: 12) }
  private var v: RandomRows { rows(2, heads: 2, headDim: 8) }

  private func sees(_ rank: Int, _ owner: Int, _ run: Int) -> Bool {
    attention.pattern.reaches(
      keys: [attention.keys.shards[owner][run]], queries: attention.queries.shards[rank])
  }

  /// Whether each rank has met each run once that it has work to do on, and none twice.
  func isMet(by found: Found) -> Bool {
    (0..<ranks).allSatisfy { rank in
      let met = found.visits[rank].flatMap { visit in
        visit.runs.map { RunOfOwner(owner: visit.owner, run: $0) }
      }
      let seen = (0..<ranks).flatMap { owner in
        attention.keys.shards[owner].indices.filter { sees(rank, owner, $0) }.map {
          RunOfOwner(owner: owner, run: $0)
        }
      }
      return Set(met).count == met.count && Set(met).isSuperset(of: seen)
    }
  }

  private struct RunOfOwner: Hashable {
    let owner: Int
    let run: Int
  }

  var expected: (o: [Double], lse: [Double]) {
    var oracle = ReferenceAttention(
      tokens: tokens, keyTokens: tokens, headDim: 12, valueHeadDim: 8, scale: attention.scale)
    (oracle.batch, oracle.queryHeads, oracle.kvHeads) = (2, 4, 2)
    func whole(_ rows: RandomRows) -> [Double] {
      guard let tensor = try? rows.read(shard: [PositionRange(0..<tokens)]) else { return [] }
      return tensor.span.indices.map { Double(tensor.span[$0]) }
    }
    return oracle(q: whole(q), k: whole(k), v: whole(v), bias: choice.bias(inputs))
  }

  /// What all ranks find out together.
  final class Found {
    /// `[batch, tokens, heads, headDim]` and `[batch, heads, tokens]` of the whole sequence.
    var o = [Float](repeating: .nan, count: 0)
    var lse = [Float](repeating: .nan, count: 0)
    /// For each rank, what it met.
    var visits: [[(owner: Int, runs: Range<Int>)]]

    init(tokens: Int, ranks: Int) {
      o = [Float](repeating: .nan, count: 2 * tokens * 4 * 8)
      lse = [Float](repeating: .nan, count: 2 * 4 * tokens)
      visits = [[(owner: Int, runs: Range<Int>)]](repeating: [], count: ranks)
    }

    /// The largest; infinite where a number is missing.
    func difference(from o: [Double], _ lse: [Double]) -> Double {
      zip(self.o + self.lse, o + lse).reduce(0) { largest, pair in
        let (found, wanted) = (Double(pair.0), pair.1)
        if found == wanted { return largest }
        return found.isFinite ? max(largest, abs(found - wanted)) : .infinity
      }
    }
  }

  func forward(by way: Way) throws -> Found {
    let found = Found(tokens: tokens, ranks: ranks)
    try LoopbackJob.run(ranks: ranks, seed: seed) { wire in
      let rank = wire.rank
      let stream = try stream(way, on: wire)
      var own = unsafe block(
        of: rank, attention.keys.shards[rank].indices, at: stream.ownBlock)
      try attention.load(keys: k, values: v, rank: rank, into: &own)
      let queries = try attention.loadQueries(q, rank: rank)
      var accumulator = ForwardAccumulator(
        shape: attention.shape, tokens: queries.tokens, scale: attention.scale,
        pattern: attention.pattern)
      _ = try stream.run(results: nil) { visit, poll in
        found.visits[rank].append((visit.owner, visit.runs))
        let block = unsafe block(of: visit.owner, visit.runs, at: visit.block)
        accumulator.attend(queries, to: block) { _ in poll() }
        poll()
      }
      put(accumulator.finish(), of: rank, in: found)
      try stream.close()
    }
    return found
  }

  private func stream(_ way: Way, on wire: any Wire) throws -> any BlockStream {
    let bytes = KeyValueBlock.byteCount(keys: 1, shape: attention.shape, elementType: .f32)
    let sizes = attention.keys.shards.map { $0.map { $0.count * bytes } }
    let meetings = Meetings(ranks: ranks, runs: sizes.map(\.count), sees: sees)
    switch way {
    case .plain: return PlainRing(sizes: sizes, on: wire)
    case .rotating:
      return try RotatingStream(
        schedule: RingSchedule(groups: groups, meetings: meetings), sizes: sizes, overlaps: true,
        timeline: nil, on: wire)
    case .direct:
      return DirectStream(
        parcels: meetings.parcelsByVisitors, sizes: sizes, overlaps: true, timeline: nil, on: wire)
    }
  }

  @unsafe
  private func block(of owner: Int, _ runs: Range<Int>, at piece: Piece) -> KeyValueBlock {
    unsafe KeyValueBlock(
      shape: attention.shape, elementType: attention.wire,
      runs: Array(attention.keys.shards[owner][runs]), memory: piece.unsafeBytes)
  }

  /// Puts a rank's rows at their positions.
  private func put(_ output: borrowing AttentionOutput, of rank: Int, in found: Found) {
    let own = attention.queries.shards[rank].flatMap { Array($0) }
    for batch in 0..<2 {
      for (index, position) in own.enumerated() {
        for column in 0..<32 {
          found.o[(batch * tokens + position) * 32 + column] =
            output.o.span[(batch * own.count + index) * 32 + column]
        }
        for head in 0..<4 {
          found.lse[(batch * 4 + head) * tokens + position] =
            output.lse.span[(batch * 4 + head) * own.count + index]
        }
      }
    }
  }
}

/// A query sees itself, the keys before it in a window, and the first keys.
func sinkWindow(width: Int, sinks: Int) -> any AttentionPattern {
  PatternChoice([CausalMask(), WindowMask(width: width), SinkMask(count: sinks)])
    .pattern(tokens: 1 << 30, keyTokens: 1 << 30)
}
