import Compute
public import Tensors

/// What a process holds of the terms that labels add to scores: a number for each query, head and
/// label, and the gradients of the scores of its visible pairs, if they are wanted.
///
/// A long query sees keys within a radius and global tokens, a global one all keys: so many numbers
/// its gradients take. They are kept apart, and added up by labels in the end, in one order: many
/// threads find them at a time. Those of several backward passes are added up. Where queries travel
/// a process finds those of its keys alone, which are then given to the part that has the whole
/// rows.
@safe
public final class LabelPart: @unchecked Sendable {
  /// Which label a pair has.
  public let labels: RelativeLabels
  /// How far long queries see.
  public let radius: Int
  /// Query heads, of those of the whole problem.
  public let heads: Range<Int>
  /// The queries, in the order of the rows.
  public let queries: [PositionRange]
  /// Keys that queries pass by; nil if they meet all keys.
  public let keys: [PositionRange]?
  /// Whether gradients are kept.
  public let collectsGradients: Bool
  private let rowCount: Int
  private let keyTokens: Int
  /// Where the gradients of each row begin among those of a sequence and head, and their number.
  private let rowStarts: [Int]
  /// `[batch][heads][queries][labels]`.
  private let terms: AlignedBuffer<Float>
  /// `[batch][heads]` of rows.
  private let gradients: AlignedBuffer<Float>

  /// Makes room, of zeros.
  ///
  /// - Parameters:
  ///   - batch: sequences.
  ///   - heads: query heads that are computed.
  ///   - keys: keys that queries pass by; nil if they meet all keys.
  public init(
    _ labels: RelativeLabels, radius: Int, batch: Int, heads: Range<Int>,
    queries: [PositionRange], keys: [PositionRange]? = nil, keyTokens: Int,
    collectsGradients: Bool
  ) {
    self.labels = labels
    self.radius = radius
    self.queries = queries
    self.keys = keys
    self.heads = heads
    self.keyTokens = keyTokens
    self.collectsGradients = collectsGradients
    rowCount = queries.reduce(0) { $0 + $1.count }
    var starts = [0]
    for query in queries.joined() {
      let count = Self.numbers(of: query, labels, radius: radius, keyTokens: keyTokens)
      starts.append(starts[starts.count - 1] + count)
    }
    rowStarts = starts
    terms = AlignedBuffer(zeros: batch * heads.count * rowCount * labels.count)
    gradients = AlignedBuffer(
      zeros: collectsGradients ? batch * heads.count * starts[starts.count - 1] : 0)
  }

  /// The gradients of a query.
  private static func numbers(
    of query: Int, _ labels: RelativeLabels, radius: Int, keyTokens: Int
  ) -> Int {
    labels.globalIndex(of: query + labels.offset) != nil
      ? keyTokens : 2 * radius + 1 + labels.globalCount
  }

  /// The bytes of a part.
  public static func byteCount(
    _ labels: RelativeLabels, radius: Int, batch: Int, heads: Int, queries: [PositionRange],
    keyTokens: Int, collectsGradients: Bool
  ) -> Double {
    let rows = queries.reduce(0.0) { $0 + Double($1.count) }
    var numbers = 0.0
    if collectsGradients {
      let ofGlobals = queries.reduce(0) { sum, run in
        sum
          + labels.globals.reduce(0) { sum, range in
            let moved = range.lowerBound - labels.offset..<range.upperBound - labels.offset
            return sum + run.indices(in: moved).count
          }
      }
      numbers =
        rows * Double(2 * radius + 1 + labels.globalCount) + Double(ofGlobals) * Double(keyTokens)
    }
    return 4 * Double(batch * heads) * (rows * Double(labels.count) + numbers)
  }

  /// Lends the terms of a row, `[labels]`, in natural-log units, to be filled.
  public func fill(
    batch: Int, head: Int, row: Int, _ body: (inout MutableSpan<Float>) throws -> Void
  ) rethrows {
    precondition((0..<rowCount).contains(row) && heads.contains(head), "no such row")
    var span = unsafe MutableSpan(
      _unsafeStart: terms.unsafeBaseAddress + firstTerm(batch, head, row), count: labels.count)
    try body(&span)
  }

  /// The gradients of the terms of a row, `[labels]`, added up over its keys.
  public func gradientSums(batch: Int, head: Int, row: Int, query: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: labels.count)
    let position = query + labels.offset
    let isGlobal = labels.globalIndex(of: position) != nil
    let first = firstGradient(batch, head, row)
    func add(_ place: Int, _ key: Int) {
      let gradient = unsafe gradients.unsafeBaseAddress[first + place]
      if gradient == 0 { return }
      let label = labels.label(batch: batch, position: position, isGlobal: isGlobal, key: key)
      sums[label] += Double(gradient)
    }
    if isGlobal {
      for key in 0..<keyTokens { add(key, key) }
    } else {
      let (lower, upper) = (max(0, position - radius), min(keyTokens - 1, position + radius))
      if lower <= upper {
        for key in lower...upper { add(key - position + radius, key) }
      }
      for (index, key) in labels.globals.joined().enumerated() { add(2 * radius + 1 + index, key) }
    }
    return sums
  }

  /// Whether a query is one of a global token.
  public func isGlobal(_ query: Int) -> Bool {
    labels.globalIndex(of: query + labels.offset) != nil
  }

  private func firstTerm(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    ((batch * heads.count + head - heads.lowerBound) * rowCount + row) * labels.count
  }

  private func firstGradient(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    (batch * heads.count + head - heads.lowerBound) * rowStarts[rowCount] + rowStarts[row]
  }

  // MARK: Tiles

  /// Whether it has all pairs of a tile that are seen.
  func has(_ place: ScorePlace) -> Bool {
    guard heads.contains(place.head) else { return false }
    // Of queries that travel it has those that see some of the keys.
    return keys.map { $0.index(of: place.firstKey) != nil }
      ?? (queries.index(of: place.query) != nil)
  }

  /// Adds terms to the scores of a tile, which are in base 2.
  func add(to tile: ScoreTile) {
    let (place, width) = (tile.first, Vector.width)
    let toBase2 = Vector(repeating: 1.442_695_04)
    let lastKey = place.firstKey + (place.count - 1) * place.keyStride
    let hasGlobals = labels.mayHaveGlobals(place.firstKey, lastKey)
    var cursor = RunCursor(queries)
    for row in 0..<tile.rows {
      let query = place.query + row * tile.queryStride
      guard let own = cursor.index(of: query) else { continue }
      let position = query + labels.offset
      let isGlobal = labels.globalIndex(of: position) != nil
      let start = firstTerm(place.batch, place.head, own)
      let scores = unsafe tile.scores + row * tile.stride
      var column = 0
      while column < place.count {
        let r = place.firstKey + column * place.keyStride - position
        let count = min(width, place.count - column)
        let added: Vector
        if hasGlobals || isGlobal {
          added = vector(count) { lane in
            start
              + labels.label(
                batch: place.batch, position: position, isGlobal: isGlobal,
                key: r + position + lane * place.keyStride)
          }
        } else if r >= labels.distance || r + (count - 1) * place.keyStride <= -labels.distance {
          added = unsafe Vector(
            repeating: terms.unsafeBaseAddress[start + labels.label(at: r)])
        } else {
          added = vector(count) { start + labels.label(at: r + $0 * place.keyStride) }
        }
        unsafe Vector(loading: scores, at: column).addingProduct(added, toBase2)
          .store(to: scores, at: column)
        column += width
      }
    }
  }

  /// Terms at some places.
  @inline(__always)
  private func vector(_ count: Int, _ place: (_ lane: Int) -> Int) -> Vector {
    var vector = Vector()
    for lane in 0..<count { unsafe vector[lane] = terms.unsafeBaseAddress[place(lane)] }
    return vector
  }

  /// The term of one score.
  func term(_ place: ScorePlace, lane: Int) -> Float {
    let position = place.query + labels.offset
    let label = labels.label(
      batch: place.batch, position: position, isGlobal: labels.globalIndex(of: position) != nil,
      key: place.firstKey + lane * place.keyStride)
    guard let row = queries.index(of: place.query) else { return 0 }
    return unsafe terms.unsafeBaseAddress[firstTerm(place.batch, place.head, row.index) + label]
  }

  /// Adds the gradients of a tile's scores; those of pairs that nobody sees are left out.
  func keep(_ tile: ScoreTile) {
    let place = tile.first
    var cursor = RunCursor(queries)
    for row in 0..<tile.rows {
      let query = place.query + row * tile.queryStride
      guard let own = cursor.index(of: query) else { continue }
      let position = query + labels.offset
      let isGlobal = labels.globalIndex(of: position) != nil
      let source = unsafe tile.scores + row * tile.stride
      let target =
        unsafe gradients.unsafeBaseAddress + firstGradient(place.batch, place.head, own)
      for column in 0..<place.count {
        let key = place.firstKey + column * place.keyStride
        guard let slot = slot(of: key, position: position, isGlobal: isGlobal) else { continue }
        unsafe target[slot] += source[column]
      }
    }
  }

  /// Where the gradient of a pair lies in its row; nil if nobody sees it.
  @inline(__always)
  private func slot(of key: Int, position: Int, isGlobal: Bool) -> Int? {
    if isGlobal { return key }
    if let index = labels.globalIndex(of: key) { return 2 * radius + 1 + index }
    return abs(key - position) <= radius ? key - position + radius : nil
  }

  // MARK: Gradients of other processes

  /// Calls `body` with where the gradients of a query and some keys lie, in one order.
  private func forEachGradient(
    batch: Int, head: Int, query: Int, keys: [PositionRange], _ body: (_ place: Int) -> Void
  ) {
    guard let row = queries.index(of: query) else { preconditionFailure("a query of others") }
    let (first, position) = (firstGradient(batch, head, row.index), query + labels.offset)
    let isGlobal = labels.globalIndex(of: position) != nil
    let near = position - radius..<position + radius + 1
    for run in keys {
      for key in isGlobal ? run : run.slice(run.indices(in: near))
      where isGlobal || labels.globalIndex(of: key) == nil {
        if let slot = slot(of: key, position: position, isGlobal: isGlobal) { body(first + slot) }
      }
      if isGlobal { continue }
      for range in labels.globals {
        for key in run.slice(run.indices(in: range)) {
          if let slot = slot(of: key, position: position, isGlobal: false) { body(first + slot) }
        }
      }
    }
  }

  /// Appends the gradients of a query and some keys to a message.
  public func appendGradients(
    batch: Int, head: Int, query: Int, keys: [PositionRange], to message: inout [Float]
  ) {
    forEachGradient(batch: batch, head: head, query: query, keys: keys) {
      unsafe message.append(gradients.unsafeBaseAddress[$0])
    }
  }

  /// Adds those that another process has appended.
  ///
  /// - Parameter next: the first of them in the message, and then the one after them.
  public func addGradients(
    batch: Int, head: Int, query: Int, keys: [PositionRange], from message: [Float],
    at next: inout Int
  ) {
    forEachGradient(batch: batch, head: head, query: query, keys: keys) {
      unsafe gradients.unsafeBaseAddress[$0] += message[next]
      next += 1
    }
  }
}

/// Finds the indices of positions that follow each other among those of some runs.
private struct RunCursor {
  private let runs: [PositionRange]
  private var run = PositionRange(0..<0)
  private var first = 0

  init(_ runs: [PositionRange]) { self.runs = runs }

  /// Nil if no run has it.
  @inline(__always)
  mutating func index(of position: Int) -> Int? {
    if !run.contains(position) {
      guard let found = runs.index(of: position),
        let own = runs.first(where: { $0.contains(position) })
      else { return nil }
      run = own
      first = found.index - (position - own.start) / own.stride
    }
    return first + (position - run.start) / run.stride
  }
}
