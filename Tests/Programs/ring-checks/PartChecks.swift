import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Computing alone meets the blocks that a whole pass meets, in the same order, and sends nothing;
/// transfers alone send what a whole pass sends.
func checkParts(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 1, queryHeads: 4, kvHeads: 2, headDim: 8, valueHeadDim: 12)
  let tokens = 50 * ranks + 3
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 9)
  for (turn, mask) in MaskCase.all(tokens: tokens, keyTokens: tokens).prefix(2).enumerated() {
    for (layoutTurn, layout) in Layout.regular.enumerated() {
      let attention = problem.attention(mask.pattern, layout: layout, ranks: ranks)
      // Each way in every layout, with the masks in turn. A stream that is an example keeps no
      // timeline, which this reads.
      for (index, (route, backward)) in ways(ranks: ranks).enumerated()
      where (index + turn + layoutTurn) % 2 == 0
        && [.rotating, .direct].contains(route.delivery)
      {
        for ranksPerNode in route.grouping == .hosts ? [1, 2] : [ranks] {
          let name = "\(route) of \(ranksPerNode), \(backward), \(mask.name), \(layout)"
          func run(_ part: DistributedAttention.Part) throws -> PartRun {
            var options = DistributedAttention.Options()
            options.topology = Topology(ranks: ranks, ranksPerNode: ranksPerNode)
            options.backwardRoute = backward
            options.part = part
            let timeline = Timeline()
            options.timeline = timeline
            let passes = try problem.run(attention, route, options: options, on: world)
            return PartRun(
              passes: passes,
              blocks: timeline.spans.filter { $0.track == .computing }.map(\.name))
          }
          guard route.hasParts(ranks: ranks) else {
            try requireRefusal(name) { _ = try run(.computing) }
            try requireRefusal(name) { _ = try run(.transfers) }
            continue
          }
          let whole = try run(.all)
          let computing = try run(.computing)
          let transfers = try run(.transfers)
          try require(
            whole.blocks == computing.blocks && !whole.blocks.isEmpty,
            "\(name): computing meets \(computing.blocks), not \(whole.blocks)")
          try require(
            computing.passes.forwardTraffic == .zero && computing.passes.backwardTraffic == .zero,
            "\(name): computing sends")
          try require(
            transfers.passes.forwardTraffic == whole.passes.forwardTraffic
              && transfers.passes.backwardTraffic == whole.passes.backwardTraffic,
            "\(name): transfers are \(transfers.passes.forwardTraffic), "
              + "\(transfers.passes.backwardTraffic)")
          // Nothing is another's on a single rank.
          try require(
            ranks > 1 || computing.passes.bits == whole.passes.bits, "\(name): other numbers")
          try require(
            (0..<transfers.passes.output.o.count).allSatisfy {
              transfers.passes.output.o.span[$0] == 0
            }, "\(name): transfers compute")
        }
      }
    }
  }
}

/// What a part of two passes gave, and the blocks that it met.
private struct PartRun: ~Copyable {
  let passes: Passes
  let blocks: [String]
}

private func requireRefusal(_ name: String, _ body: () throws -> Void) throws {
  do {
    try body()
  } catch is RouteError {
    return
  }
  throw CheckFailure("\(name) is not refused")
}
