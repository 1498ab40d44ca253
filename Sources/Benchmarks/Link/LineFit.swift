/// The line `y = offset + slope · x` through some points.
struct LineFit {
  let offset: Double
  let slope: Double

  /// Fits two numbers, neither below 0; nil without two different `x`.
  ///
  /// The slope is that of least squares, which long messages decide; the offset, with that slope,
  /// that of least squares of relative errors, which short ones decide. Messages of middle sizes
  /// may lie off the line: protocols change, and a limited link lets bursts pass.
  init?(_ points: [(x: Double, y: Double)]) {
    let points = points.filter { $0.y > 0 }
    guard Set(points.map(\.x)).count > 1 else { return nil }
    let count = Double(points.count)
    let meanX = points.reduce(0) { $0 + $1.x } / count
    let meanY = points.reduce(0) { $0 + $1.y } / count
    var (xx, xy) = (0.0, 0.0)
    for point in points {
      xx += (point.x - meanX) * (point.x - meanX)
      xy += (point.x - meanX) * (point.y - meanY)
    }
    let slope = max(0, xy / xx)
    var (weights, rests) = (0.0, 0.0)
    for point in points {
      let weight = 1 / (point.y * point.y)
      weights += weight
      rests += weight * (point.y - slope * point.x)
    }
    self.slope = slope
    offset = max(0, rests / weights)
  }
}
