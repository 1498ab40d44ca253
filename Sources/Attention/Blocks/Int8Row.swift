/// Rows of keys or values as integers from −127 to 127 times one scale.
///
/// The scale is `max|x| / 127`, rounded up to 17 significant bits. An integer of 7 bits times it is
/// then a `Float` without rounding: nothing is lost in widening, the error is at most half a scale,
/// and a row that has been quantised once stays as it is when it is quantised again.
///
/// Source: Dettmers et al. 2022, LLM.int8(), section 2 (absmax quantisation).
enum Int8Row {
  /// The bits of a `Float` that a scale leaves unused.
  private static let unusedBits: UInt32 = 0x7F

  /// The largest scale whose multiples by 127 are finite.
  private static let largestScale = Float(
    bitPattern: (Float.greatestFiniteMagnitude / 127).bitPattern & ~unusedBits)

  /// The scale of a row of finite numbers; 0 for a row of zeros.
  @unsafe
  static func scale(of row: UnsafePointer<Float>, count: Int) -> Float {
    var largest: Float = 0
    for column in 0..<count {
      let magnitude = unsafe abs(row[column])
      if magnitude > largest { largest = magnitude }
    }
    let quotient = (largest / 127).bitPattern
    return min(Float(bitPattern: (quotient + unusedBits) & ~unusedBits), largestScale)
  }

  /// The integer that times `scale` is nearest to `value`; the even one of two.
  ///
  /// The quotient is taken in `Double`, where it never rounds to half an integer that it is not.
  @inline(__always)
  static func quantised(_ value: Float, scale: Float) -> Int8 {
    scale == 0 ? 0 : Int8((Double(value) / Double(scale)).rounded(.toNearestOrEven))
  }
}
