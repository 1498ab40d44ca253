/// What source a program was built from.
///
/// `stampedCommit` is written by the plugin StampCommit before this module is compiled.
package enum BuildStamp {
  /// The commit, with `-modified` behind it where the source was not as committed; nil where it was
  /// built outside of a checkout.
  ///
  /// Not inlined: another commit is to compile this module alone.
  @inline(never)
  package static var commit: String? { stampedCommit.isEmpty ? nil : stampedCommit }
}
