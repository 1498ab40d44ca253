/// Many short byte strings in one piece of memory, as a vocabulary is.
///
/// They need not be valid UTF-8, and two that Swift would call equal `String`s, as one letter with
/// an accent and a letter followed by the accent, are different here.
public struct StringTable: Hashable, Sendable {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []

  /// Creates an empty table.
  public init() {}

  /// Creates a table of the UTF-8 of some strings.
  public init(_ strings: some Sequence<String>) {
    for string in strings { append(string.utf8) }
  }

  /// How many strings there are.
  public var count: Int { ends.count }

  /// String `index`.
  ///
  /// - Precondition: There is such a string.
  public subscript(index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// String `index` as text; what is no UTF-8 is replaced by U+FFFD.
  public func text(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }

  /// Adds a string at the end.
  public mutating func append(_ string: some Sequence<UInt8>) {
    bytes.append(contentsOf: string)
    ends.append(bytes.count)
  }

  /// Makes room for so many strings of so many bytes together.
  mutating func reserve(_ count: Int, byteCount: Int) {
    ends.reserveCapacity(ends.count + count)
    bytes.reserveCapacity(bytes.count + byteCount)
  }
}
