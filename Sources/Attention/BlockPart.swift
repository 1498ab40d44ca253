/// How much of the work on a block is to be done.
///
/// The halves together are the whole: a rank that splits its own block has work to do while the
/// first transfers come and the last ones go.
public enum BlockPart: Hashable, Sendable {
  case whole, firstHalf, secondHalf

  /// The part of `0..<count`.
  func range(of count: Int) -> Range<Int> {
    switch self {
    case .whole: 0..<count
    case .firstHalf: 0..<count / 2
    case .secondHalf: count / 2..<count
    }
  }
}
