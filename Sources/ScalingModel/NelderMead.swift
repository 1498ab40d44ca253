/// The minimum of a function of a few numbers, without its derivatives.
///
/// Source: Nelder and Mead 1965, A Simplex Method for Function Minimization.
enum NelderMead {
  private struct Corner {
    var place: [Double]
    var value: Double
  }

  /// Searches from a starting point.
  ///
  /// - Parameters:
  ///   - step: the first distance in each direction.
  ///   - evaluations: how often the function is asked at most, about.
  static func minimum(
    of function: ([Double]) -> Double, from start: [Double], step: Double, evaluations: Int
  ) -> [Double] {
    func corner(_ place: [Double]) -> Corner { Corner(place: place, value: function(place)) }
    var simplex = [corner(start)]
    for axis in start.indices {
      var place = start
      place[axis] += step
      simplex.append(corner(place))
    }
    let dimensions = Double(start.count)
    for _ in 0..<evaluations {
      simplex.sort { $0.value < $1.value }
      let (best, worst) = (simplex[0], simplex[simplex.count - 1])
      if worst.value - best.value < 1e-9 * (1 + best.value) { break }
      let centre = start.indices.map { axis in
        simplex.dropLast().reduce(0) { $0 + $1.place[axis] } / dimensions
      }
      func moved(_ factor: Double) -> Corner {
        corner(zip(centre, worst.place).map { $0 + factor * ($0 - $1) })
      }
      let reflected = moved(1)
      var replacement = reflected
      if reflected.value < best.value {
        let expanded = moved(2)
        if expanded.value < reflected.value { replacement = expanded }
      } else if reflected.value >= simplex[simplex.count - 2].value {
        replacement = moved(reflected.value < worst.value ? 0.5 : -0.5)
        if replacement.value >= min(reflected.value, worst.value) {
          // Towards the best corner, all of them.
          simplex = simplex.map { old in
            corner(zip(best.place, old.place).map { ($0 + $1) / 2 })
          }
          continue
        }
      }
      simplex[simplex.count - 1] = replacement
    }
    return simplex.min { $0.value < $1.value }?.place ?? start
  }
}
