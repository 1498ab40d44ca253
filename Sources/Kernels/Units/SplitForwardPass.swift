import AttentionTypes
import Compute

/// A ``ForwardPass`` with too few tiles of queries for its threads, cut over the keys too: a unit
/// is what one leaf of keys does to a tile.
///
/// A unit starts from rows that have seen nothing, and what it finds out is added to their partial
/// results in the order of the leaves. That is what a ``ForwardPass`` does one leaf after the
/// other: the bits are the same.
///
/// Source: Dao et al. 2023, Flash-Decoding for long-context inference.
struct SplitForwardPass<Element: Factor>: Sendable {
  private let pass: ForwardPass<Element>
  private let leaves: [Leaf]
  private let slots: LeafSlots

  var unitCount: Int { pass.units.count * leaves.count }

  /// So many units that threads end together.
  private static var unitsPerThread: Int { 4 }

  /// Cuts a pass; nil if it has units enough, or one leaf.
  init?(_ pass: ForwardPass<Element>, threads: Int) {
    guard threads > 1, pass.unitCount < Self.unitsPerThread * threads else { return nil }
    self.pass = pass
    leaves = Array(pass.keyLeaves)
    if leaves.count < 2 { return nil }
    let width = TileSizes.panelWidth
    let columns = (pass.work.shape.valueHeadDim + width - 1) / width * width
    slots = LeafSlots(
      tiles: pass.unitCount, leaves: leaves.count, threads: threads,
      floats: Element.queries * (2 + columns))
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var tile = ForwardTile<Element>(shape: pass.work.shape)
    var keyTile = KeyTile<Element>(shape: pass.work.shape)
    var loaded: Int?
    Element.beginPass()
    defer { Element.endPass() }
    while let unit = units.next() {
      let (index, leaf) = unit.quotientAndRemainder(dividingBy: leaves.count)
      let queries = pass.units[index]
      if loaded != index { pass.load(queries, to: &tile) }
      loaded = index
      let isSeen = pass.attend(
        queries, to: leaves[leaf], tile: &tile, keyTile: &keyTile, poll: poll)
      slots.put(isSeen ? tile.results.state : nil, of: unit, poll: poll) { state in
        pass.add(state, of: queries)
      }
    }
  }
}

extension ForwardPass {
  /// Runs the pass, cut over the keys too if there are few tiles of queries.
  @inline(__always)
  func run(on team: ThreadTeam, poll: (_ scores: Int) -> Void) {
    if let split = SplitForwardPass(self, threads: team.threads) {
      team.run(ConcretePass(unitCount: split.unitCount) { split.run($0, poll: $1) }, poll: poll)
    } else {
      team.run(ConcretePass(unitCount: unitCount) { run($0, poll: $1) }, poll: poll)
    }
  }
}
