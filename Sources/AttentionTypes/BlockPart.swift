/// How much of the work on a block is to be done.
///
/// The halves together are the whole: a rank that splits its own block has work to do while the
/// first transfers come and the last ones go. Each has every other tile, so that a mask that shows
/// early keys to more queries than late ones leaves them equally long.
public enum BlockPart: Hashable, Sendable {
  case whole, firstHalf, secondHalf

  private var first: Int { self == .firstHalf ? 1 : 0 }
  private var step: Int { self == .whole ? 1 : 2 }

  /// How many there are in the part of `0..<count`.
  package func count(of count: Int) -> Int { (max(count, first) - first + step - 1) / step }

  /// Number `index` of the part.
  package func index(_ index: Int) -> Int { first + index * step }

  /// The part of `0..<count`.
  package func indices(of count: Int) -> StrideTo<Int> { stride(from: first, to: count, by: step) }
}
