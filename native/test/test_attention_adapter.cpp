// Attention and adapters on buffers of exactly the size they ask for, at awkward shapes: made for the
// sanitizers. Values are tested from Java; here only that threads change no bit, that 16-bit storage gives
// float32's results rounded, and that bad arguments are named.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"
#include "storage.h"

namespace {

std::vector<float> random(int64_t n, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> value(-1, 1);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& x : out) x = value(engine);
    return out;
}

// Inputs and results are rounded to `Rounded` where they are not stored as that.
template <class Stored, class Rounded = Stored>
std::vector<float> attention(int threads, int64_t batch, int64_t heads, int64_t kv_heads, int64_t queries,
                             int64_t keys, int64_t dim, bool mixed) {
    using Element = typename Stored::Element;
    horo_exec* exec = nullptr;
    CHECK(horo_exec_create(-1, threads, nullptr, &exec) == HORO_OK);
    const int64_t query = batch * queries * heads * dim, key = batch * keys * kv_heads * dim;
    const auto stored = [](int64_t n, unsigned seed) {
        std::vector<Element> x;
        for (float v : random(n, seed)) x.push_back(Stored::put(Rounded::get(Rounded::put(v))));
        return x;
    };
    const auto q = stored(query, 1), k = stored(key, 2), v = stored(key, 3), dout = stored(query, 4);
    const auto alpha = random(heads * heads, 5);
    std::vector<Element> out(query), dq(query), dk(key), dv(key);
    std::vector<float> lse(batch * heads * queries), dalpha(alpha.size());
    const float* mix = mixed ? alpha.data() : nullptr;
    const int64_t qt = heads * dim, kt = kv_heads * dim;
    for (int32_t backward : {0, 1}) {
        int64_t bytes = 0;
        CHECK(horo_attention_workspace(exec, Stored::dtype, batch, heads, kv_heads, queries, keys, dim, mixed,
                                       backward, &bytes) == HORO_OK);
        std::vector<char> workspace(static_cast<size_t>(bytes));
        const int32_t status =
            backward ? horo_attention_backward(
                           exec, Stored::dtype, batch, heads, kv_heads, queries, keys, dim, q.data(),
                           queries * qt, qt, dim, k.data(), keys * kt, kt, dim, v.data(), keys * kt, kt, dim,
                           mix, 0.5, 1, nullptr, lse.data(), dout.data(), queries * qt, qt, dim, dq.data(),
                           dk.data(), dv.data(), mixed ? dalpha.data() : nullptr, workspace.data(), bytes)
                     : horo_attention_forward(exec, Stored::dtype, batch, heads, kv_heads, queries, keys, dim,
                                              q.data(), queries * qt, qt, dim, k.data(), keys * kt, kt, dim,
                                              v.data(), keys * kt, kt, dim, mix, 0.5, 1, nullptr, out.data(),
                                              queries * qt, qt, dim, lse.data(), workspace.data(), bytes);
        CHECK(status == HORO_OK, "%s", horo_last_error());
    }
    horo_exec_destroy(exec);
    std::vector<float> all = lse;
    all.insert(all.end(), dalpha.begin(), dalpha.end());
    for (const auto& part : {out, dq, dk, dv})
        for (Element x : part) all.push_back(static_cast<float>(Rounded::get(Rounded::put(Stored::get(x)))));
    return all;
}

std::vector<float> adapter(int threads, int32_t kind, int64_t tokens, int64_t d, int64_t r, int64_t k) {
    horo_exec* exec = nullptr;
    CHECK(horo_exec_create(-1, threads, nullptr, &exec) == HORO_OK);
    const auto x = random(tokens * d, 1), a = random(r * d, 2), b = random(k * r, 3),
               dout = random(tokens * k, 4);
    std::vector<float> out(tokens * k), p(tokens * r), dx(tokens * d), da(r * d), db(k * r);
    std::vector<double> gram(r * r), gain(tokens), norm(tokens), m(tokens);
    const double K = 0.7, s = 2;
    double dK = 0, ds = 0;
    int64_t bytes = 0;
    CHECK(horo_gram(exec, HORO_F32, k, r, b.data(), gram.data()) == HORO_OK);
    CHECK(horo_low_rank_workspace(exec, HORO_F32, kind, tokens, d, r, k, &bytes) == HORO_OK);
    std::vector<char> workspace(static_cast<size_t>(bytes));
    CHECK(horo_low_rank_forward(exec, HORO_F32, kind, tokens, d, r, k, x.data(), d, a.data(), b.data(),
                                gram.data(), &K, &s, 3, out.data(), k, p.data(), gain.data(), norm.data(),
                                m.data()) == HORO_OK,
          "%s", horo_last_error());
    CHECK(horo_low_rank_backward(exec, HORO_F32, kind, tokens, d, r, k, x.data(), d, a.data(), b.data(),
                                 gram.data(), &K, &s, 3, dout.data(), k, p.data(), norm.data(), m.data(),
                                 dx.data(), d, da.data(), db.data(), &dK, &ds, workspace.data(),
                                 bytes) == HORO_OK,
          "%s", horo_last_error());
    horo_exec_destroy(exec);
    for (const auto& part : {dx, da, db}) out.insert(out.end(), part.begin(), part.end());
    out.push_back(static_cast<float>(dK));
    out.push_back(static_cast<float>(ds));
    return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

int main() {
    const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 1},    {2, 3, 3, 1, 7, 5},    {1, 4, 2, 3, 129, 33},
                                 {2, 2, 1, 9, 9, 1},    {1, 25, 5, 50, 60, 9}, {3, 2, 2, 49, 257, 8},
                                 {1, 2, 1, 97, 97, 65}, {1, 2, 2, 9, 5, 16}};
    const auto same = [](auto one, auto other, const int64_t(&s)[6], const char* what) {
        for (bool mixed : {false, true})
            CHECK(same_bits(one(1, s[0], s[1], s[2], s[3], s[4], s[5], mixed),
                            other(3, s[0], s[1], s[2], s[3], s[4], s[5], mixed)),
                  "%s: heads %ld queries %ld keys %ld", what, static_cast<long>(s[1]),
                  static_cast<long>(s[3]), static_cast<long>(s[4]));
    };
    for (const auto& s : shapes) {
        same(attention<AsF32>, attention<AsF32>, s, "float32");
        // 16 bits: float32 arithmetic on the same numbers, rounded once
        same(attention<AsBf16>, attention<AsF32, AsBf16>, s, "bfloat16");
        same(attention<AsF16>, attention<AsF32, AsF16>, s, "float16");
    }
    const int64_t adapters[][4] = {
        {1, 1, 1, 1}, {3, 7, 2, 5}, {130, 33, 3, 17}, {9, 300, 70, 90}, {70, 1100, 16, 520}};
    for (const auto& s : adapters)
        for (int32_t kind : {HORO_LORA, HORO_HYPLORA, HORO_HYPLORA_RELEASED, HORO_HYPLORA_SIMPLIFIED})
            CHECK(
                same_bits(adapter(1, kind, s[0], s[1], s[2], s[3]), adapter(3, kind, s[0], s[1], s[2], s[3])),
                "kind %d tokens %ld", kind, static_cast<long>(s[0]));

    int64_t bytes = 0;
    CHECK(horo_attention_workspace(nullptr, 4, 1, 1, 1, 1, 1, 1, 0, 0, &bytes) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "dtype"), "%s", horo_last_error());
    CHECK(horo_attention_workspace(nullptr, HORO_F32, 1, 3, 2, 1, 1, 1, 0, 0, &bytes) ==
          HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "kv_heads"), "%s", horo_last_error());
    CHECK(horo_gram(nullptr, HORO_F32, 1, 1, nullptr, nullptr) == HORO_INVALID_ARGUMENT);
    CHECK(horo_low_rank_workspace(nullptr, HORO_F32, 7, 1, 1, 1, 1, &bytes) == HORO_INVALID_ARGUMENT);
    CHECK(std::strstr(horo_last_error(), "kind"), "%s", horo_last_error());
    return check_result();
}
