import Attention
import Compute
import Tensors

/// A score rule for the rows of a task: these are numbered as they follow one another, and the rule
/// is told where they are in the sequence, and of which sequence and head.
struct DilatedRule<Rule: ScoreRule>: ScoreRule {
  private let rule: Rule
  private let family: DilatedFamily
  private let segments: Range<Int>

  init(_ rule: Rule, of family: DilatedFamily, segments: Range<Int>) {
    (self.rule, self.family, self.segments) = (rule, family, segments)
  }

  var isShift: Bool { rule.isShift }

  /// Asks about the true place.
  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    rule.change(scores, at: truePlace(of: place).place)
  }

  /// Lets the rule change the tile by its own loop.
  func apply(to tile: ScoreTile) {
    let (place, stride) = truePlace(of: tile.place)
    rule.apply(to: tile.moved(to: place, queryStride: tile.distanceOfQueries * stride))
  }

  /// Where the first pair of a tile is, and how far neighbouring rows are apart.
  private func truePlace(of place: ScorePlace) -> (place: ScorePlace, stride: Int) {
    let (batch, segment) = place.batch.quotientAndRemainder(dividingBy: segments.count)
    let rows = family.rows(of: segments.lowerBound + segment)
    var own = place
    own.batch = batch
    own.head = family.queryHeads[place.head]
    own.query = rows.start + place.query * rows.stride
    own.firstKey = rows.start + place.firstKey * rows.stride
    own.keyStride = place.keyStride * rows.stride
    return (own, rows.stride)
  }
}

extension ScoreRule {
  /// For the rows of a task.
  func ofRows(of family: DilatedFamily, segments: Range<Int>) -> any ScoreRule {
    DilatedRule(self, of: family, segments: segments)
  }
}
