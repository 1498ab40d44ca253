extension MutableSpan where Element: BitwiseCopyable {
  /// The elements at `indices`, writable for as long as the whole is borrowed exclusively.
  ///
  /// The one place that uses the standard library's name for it, which still has an underscore.
  ///
  /// - Precondition: `indices` lies within the span.
  @inlinable
  @_lifetime(&self)
  package mutating func part(_ indices: Range<Int>) -> MutableSpan<Element> {
    _mutatingExtracting(indices)
  }
}
