/** Native hyperbolic-geometry and adapter kernels. */
module org.horosphere {
    exports org.horosphere;
}
