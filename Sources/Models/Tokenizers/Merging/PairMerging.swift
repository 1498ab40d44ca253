/// Says whether two neighbours of a text become one token, and when.
protocol MergeRule {
  /// The merge of two neighbouring symbols, lower ranks first; nil if they stay apart.
  ///
  /// - Parameters:
  ///   - left: A token, or −1 if the symbol is none.
  ///   - right: The one after it.
  ///   - text: The bytes of both.
  func merge(_ left: Int32, _ right: Int32, text: ArraySlice<UInt8>) -> MergeTable.Merge?
}

/// Byte pair encoding of one word: of all neighbours that may be joined, those of the lowest rank
/// are, of equal ones the leftmost, until none are left (Sennrich et al., arXiv 1508.07909).
///
/// Symbols are a doubly linked list, and pairs wait in a heap: O(n log n) for any word.
struct PairMerging {
  /// A stretch of the word: a token, or −1.
  private struct Symbol {
    var token: Int32
    var start: Int32
    /// 0 when it has become part of the one before.
    var length: Int32
    var previous: Int32
    var next: Int32
  }

  /// Two neighbours that may be joined.
  private struct Pair {
    /// The rank above, the left symbol's number below: what is joined first is least.
    let key: Int64
    let right: Int32
    let token: Int32
    /// The bytes of both when the pair was made: if they differ by now, it is no more.
    let length: Int32
  }

  private var symbols: [Symbol] = []
  private var heap: [Pair] = []

  /// Splits a word into tokens.
  ///
  /// - Parameters:
  ///   - word: The bytes.
  ///   - rule: What is joined.
  ///   - visitSymbols: Calls its argument with the token (or −1) and length of each symbol that
  ///     the word begins as.
  ///   - visit: Called with what it ends as: a token or −1, and the bytes.
  mutating func encode(
    _ word: ArraySlice<UInt8>, rule: some MergeRule,
    _ visitSymbols: ((_ token: Int32, _ length: Int) -> Void) -> Void,
    _ visit: (_ token: Int32, _ bytes: ArraySlice<UInt8>) -> Void
  ) {
    symbols.removeAll(keepingCapacity: true)
    heap.removeAll(keepingCapacity: true)
    var start: Int32 = 0
    var found: [Symbol] = []
    swap(&found, &symbols)
    visitSymbols { token, length in
      let number = Int32(found.count)
      found.append(
        Symbol(
          token: token, start: start, length: Int32(length), previous: number - 1,
          next: number + 1))
      start += Int32(length)
    }
    swap(&found, &symbols)
    guard let last = symbols.indices.last else { return }
    symbols[last].next = -1
    for left in 0..<last { push(Int32(left), word, rule) }
    while let pair = pop() { join(pair, word, rule) }
    var number = 0
    while number >= 0 {
      let symbol = symbols[number]
      let first = word.startIndex + Int(symbol.start)
      visit(symbol.token, word[first..<first + Int(symbol.length)])
      number = Int(symbol.next)
    }
  }

  /// Joins a pair, if both are still as they were.
  private mutating func join(_ pair: Pair, _ word: ArraySlice<UInt8>, _ rule: some MergeRule) {
    let left = Int(truncatingIfNeeded: pair.key & 0xFFFF_FFFF)
    let right = Int(pair.right)
    guard symbols[left].length > 0, symbols[left].next == pair.right, symbols[right].length > 0,
      symbols[left].length + symbols[right].length == pair.length
    else { return }
    symbols[left].token = pair.token
    symbols[left].length = pair.length
    symbols[left].next = symbols[right].next
    symbols[right].length = 0
    if symbols[left].next >= 0 {
      symbols[Int(symbols[left].next)].previous = Int32(left)
      push(Int32(left), word, rule)
    }
    if symbols[left].previous >= 0 { push(symbols[left].previous, word, rule) }
  }

  /// Notes that a symbol and the next may be joined, if they may.
  private mutating func push(
    _ left: Int32, _ word: ArraySlice<UInt8>, _ rule: some MergeRule
  ) {
    let first = symbols[Int(left)]
    let second = symbols[Int(first.next)]
    let start = word.startIndex + Int(first.start)
    let length = first.length + second.length
    guard
      let merge = rule.merge(
        first.token, second.token, text: word[start..<start + Int(length)])
    else { return }
    heap.append(
      Pair(
        key: Int64(merge.rank) << 32 | Int64(left), right: first.next, token: merge.token,
        length: length))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].key < heap[parent].key else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the pair that is joined next.
  private mutating func pop() -> Pair? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var child = 2 * parent + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
      guard heap[child].key < heap[parent].key else { break }
      heap.swapAt(child, parent)
      parent = child
    }
    return first
  }
}
