import Attention
import Sharding
import Tensors

/// How a prompt is cut into pieces that are read one after the other, and where their tokens are.
///
/// A piece is divided among the ranks as a whole prompt is, in whole pages but for the last piece,
/// so that pieces waste nothing of the cache.
struct PiecePlan {
  /// Tokens of the prompt.
  let tokens: Int
  /// Tokens of all pieces but the last, which may have fewer.
  let length: Int
  let ranks: Int
  private let options: RunOptions
  private let decoder: Decoder

  init(_ decoder: Decoder, _ options: RunOptions, tokens: Int, ranks: Int) {
    (self.decoder, self.options, self.ranks) = (decoder, options, ranks)
    self.tokens = tokens
    guard let piece = options.piece else {
      length = max(1, tokens)
      return
    }
    let unit =
      decoder.carriesState
      ? 1 : ranks * options.pageTokens * (options.dividingLayout == .zigzag ? 2 : 1)
    length = (max(1, piece) + unit - 1) / unit * unit
  }

  /// How many pieces there are.
  var count: Int { max(1, (tokens + length - 1) / length) }

  /// Positions of a piece.
  func range(_ index: Int) -> Range<Int> {
    index * length..<min((index + 1) * length, tokens)
  }

  /// Which rank holds which tokens of a piece; as far as shards go, positions before it are
  /// nobody's.
  func sharding(_ index: Int) -> Sharding { sharding(of: range(index)) }

  /// The same for any tokens that are read together.
  func sharding(of range: Range<Int>) -> Sharding {
    if range.lowerBound == 0, range.upperBound == tokens {
      return decoder.carriesState
        ? Sharding(.contiguous, tokens: tokens, ranks: ranks)
        : options.sharding(tokens: tokens, ranks: ranks)
    }
    let layout = decoder.carriesState ? .contiguous : options.dividingLayout
    return Sharding(layout, tokens: range.count, ranks: ranks).shifted(by: range.lowerBound)
  }

  // MARK: Pages

  /// Pages of each rank.
  struct Pages {
    /// The most that are in use at once while the prompt is read.
    var most: [Int]
    /// Those that are left then.
    var left: [Int]
  }

  /// Pages that the prompt takes.
  ///
  /// - Complexity: O(runs of a piece), and with windows O(pages of a window) for each piece that
  ///   lies in one.
  var pages: Pages {
    let reach = options.reach(decoder)
    guard reach != nil else {
      // All stay, and all pieces but the last take the same.
      func counts(_ index: Int) -> [Int] {
        PageTable.pageCounts(of: sharding(index), pageTokens: options.pageTokens)
      }
      let last = counts(count - 1)
      let all =
        count == 1 ? last : zip(counts(0), last).map { $0 * (count - 1) + $1 }
      return Pages(most: all, left: all)
    }
    let table = table(before: count)
    return Pages(most: (0..<ranks).map(table.pageCount), left: table.loads)
  }

  /// The table of pages when some pieces have been read, as far as it depends on the last of them:
  /// what lies before is hidden.
  private func table(before index: Int) -> PageTable {
    var table = PageTable(pageTokens: options.pageTokens, ranks: ranks)
    let sequence = table.create()
    // Pieces of which a later one sees some, one whose pages are still there, and the first, which
    // has sinks.
    let seen = (options.reach(decoder) ?? tokens) / length + 3
    for number in 0..<index where number == 0 || number >= index - seen {
      append(number, to: sequence, in: &table)
    }
    return table
  }

  /// Makes room for a piece as ``Prefill`` does.
  private func append(_ index: Int, to sequence: PageTable.Sequence, in table: inout PageTable) {
    let range = range(index)
    table.release(options.hidden(decoder, before: range.lowerBound), of: sequence)
    table.append(
      sharding(index), to: sequence, hiding: options.hidden(decoder, before: range.upperBound))
  }

  /// The piece that has most to attend to, with what is kept of those before it.
  ///
  /// - Returns: its shards, its first position, and the runs of each rank that are kept. Where all
  ///   are, these are as many tokens in one run.
  var largest: (piece: Sharding, start: Int, kept: [[PositionRange]]) {
    // The last may be short.
    let index = max(0, count - 2)
    let sharding = sharding(index)
    let start = range(index).lowerBound
    if index == 0 { return (sharding, start, Array(repeating: [], count: ranks)) }
    guard options.reach(decoder) != nil else {
      return (sharding, start, Sharding(.contiguous, tokens: start, ranks: ranks).shards)
    }
    let table = table(before: index)
    return (sharding, start, table.allSequences.first.map { table.runs(of: $0) } ?? [])
  }
}

extension Sharding {
  /// The same shards so many positions later; those before are nobody's.
  fileprivate func shifted(by distance: Int) -> Sharding {
    Sharding(
      layout: nil, tokens: tokens + distance,
      shards: shards.map { runs in
        runs.map {
          PositionRange(start: $0.start + distance, stride: $0.stride, count: $0.count)
        }
      })
  }
}

extension PageTable {
  /// What each rank has of a sequence, neighbours joined.
  func runs(of sequence: Sequence) -> [[PositionRange]] {
    var runs = Array(repeating: [PositionRange](), count: loads.count)
    for entry in entries(of: sequence) {
      let (rank, positions) = (entry.page.rank, entry.positions)
      if let last = runs[rank].last, last.isContiguous, positions.isContiguous,
        last.start + last.count == positions.start
      {
        runs[rank][runs[rank].count - 1] = PositionRange(
          start: last.start, count: last.count + positions.count)
      } else {
        runs[rank].append(positions)
      }
    }
    return runs
  }
}
