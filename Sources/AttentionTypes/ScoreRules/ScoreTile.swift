public import Compute
import Tensors

/// Scores of neighbouring queries and keys of one head, where the kernel has them.
///
/// They are in base 2 there, as exponentials want them. It holds addresses, for the time of a call.
@frozen @safe
public struct ScoreTile {
  /// Row `r` lies at `r · stride`.
  @usableFromInline let scores: UnsafeMutablePointer<Float>
  @usableFromInline let stride: Int
  /// Where the derivatives go, likewise; nil if they are not wanted.
  @usableFromInline let slopes: UnsafeMutablePointer<Float>?
  @usableFromInline let slopeStride: Int
  /// Whether there are derivatives of rules before, to be multiplied by those of this one.
  @usableFromInline var hasSlopes = false
  @usableFromInline let rows: Int
  @usableFromInline let queryStride: Int
  /// The place of the first vector, with the keys of a row for its count.
  @usableFromInline let first: ScorePlace

  @unsafe
  package init(
    scores: UnsafeMutablePointer<Float>, stride: Int, slopes: UnsafeMutablePointer<Float>?,
    slopeStride: Int, rows: Int, queryStride: Int, first: ScorePlace
  ) {
    unsafe self.scores = scores
    self.stride = stride
    unsafe self.slopes = slopes
    self.slopeStride = slopeStride
    self.rows = rows
    self.queryStride = queryStride
    self.first = first
  }
}

extension ScoreTile {
  /// The place of the first vector, with the keys of a row for its count.
  package var place: ScorePlace { first }

  /// How far neighbouring queries are apart.
  package var distanceOfQueries: Int { queryStride }

  /// The same scores for queries and keys elsewhere.
  package func moved(to place: ScorePlace, queryStride: Int) -> ScoreTile {
    var tile = unsafe ScoreTile(
      scores: scores, stride: stride, slopes: slopes, slopeStride: slopeStride, rows: rows,
      queryStride: queryStride, first: place)
    tile.hasSlopes = hasSlopes
    return tile
  }

  /// Says that the derivatives of a first rule are 1, if they are wanted.
  func fillSlopes() {
    guard let slopes = unsafe slopes, !hasSlopes else { return }
    for row in 0..<rows {
      for key in 0..<first.count { unsafe slopes[row * slopeStride + key] = 1 }
    }
  }
}

extension ScoreRule {
  /// Goes through the vectors of the tile.
  @inlinable
  public func apply(to tile: ScoreTile) { changeVectors(of: tile) }

  /// Goes through the vectors of the tile, for rules that do more or less than that.
  @inlinable
  public func changeVectors(of tile: ScoreTile) {
    if let slopes = unsafe tile.slopes {
      unsafe forEachVector(of: tile) { rule, scores, row, column, place in
        var (score, slope) = rule.change(scores, at: place)
        let offset = row * tile.slopeStride + column
        if tile.hasSlopes { unsafe slope *= Vector(loading: slopes, at: offset) }
        unsafe slope.store(to: slopes, at: offset)
        return score
      }
    } else {
      unsafe forEachVector(of: tile) { rule, scores, _, _, place in
        rule.change(scores, at: place).score
      }
    }
  }

  @unsafe @inlinable @inline(__always)
  func forEachVector(
    of tile: ScoreTile,
    _ body: (_ rule: Self, _ scores: Vector, _ row: Int, _ column: Int, _ place: ScorePlace) ->
      Vector
  ) {
    let toNatural = Vector(repeating: 0.693_147_18)
    let toBase2 = Vector(repeating: 1.442_695_04)
    let keys = tile.first.count
    for row in 0..<tile.rows {
      var place = tile.first
      place.query += row * tile.queryStride
      var column = 0
      while column < keys {
        place.count = min(Vector.width, keys - column)
        let offset = row * tile.stride + column
        let scores = unsafe Vector(loading: tile.scores, at: offset) * toNatural
        unsafe (body(self, scores, row, column, place) * toBase2).store(to: tile.scores, at: offset)
        column += Vector.width
        place.firstKey += Vector.width * place.keyStride
      }
    }
  }
}
