/// How much of the work on a block is to be done.
///
/// The halves together are the whole: a rank that splits its own block has work to do while the
/// first transfers come and the last ones go. Each has every other tile, so that a mask that shows
/// early keys to more queries than late ones leaves them equally long.
public enum BlockPart: Hashable, Sendable {
  case whole, firstHalf, secondHalf

  /// The part of `0..<count`.
  func indices(of count: Int) -> StrideTo<Int> {
    switch self {
    case .whole: stride(from: 0, to: count, by: 1)
    case .firstHalf: stride(from: 1, to: count, by: 2)
    case .secondHalf: stride(from: 0, to: count, by: 2)
    }
  }
}
