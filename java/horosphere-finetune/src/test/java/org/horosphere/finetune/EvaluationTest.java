package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EvaluationTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                " 12+7=19 #### 19          | 19",
                "#### 19 #### 20           | 19",
                "#### $1,250.50            | 1250.5",
                "She has 3, then 4.        | 4",
                "it is -5                  | -5",
                "#### -5                   | -5",
                "so 7 ####                 | NaN",
                "no number                 | NaN",
                "''                        | NaN",
                "the answer is 18.         | 18",
                "####5                     | 5",
            })
    void finalNumber(String text, double expected) {
        assertEquals(expected, Evaluation.finalNumber(text));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "#### 19     | 19       | true",
                "#### 19     | 20       | false",
                "19 or 20    | 20       | true",
                "20 or 19    | 20       | false",
                "1.3335      | 1.333    | true",
                "1.3345      | 1.333    | false",
                "2.0         | 2        | true",
                "nothing     | 0        | false",
                "''          | 0        | false",
                " Mia        | Mia      | true",
                "#### Mia    | Mia      | true",
                "Ben         | Mia      | false",
                "7 #### 9    | #### 9   | true",
            })
    void exactMatch(String generated, String answer, boolean expected) {
        assertEquals(expected, Evaluation.exactMatch(generated, answer));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "A) 3 km, so B is right: #### B     | B  | true",
                "#### (C) 5                         | C  | true",
                "#### Because                       | B  | false",
                "The answer is B.                   | B  | true",
                "the correct answer is: (D)         | D  | true",
                "(A) is wrong, so it is (E)         | E  | true",
                "\\boxed{C} and not (D)              | C  | true",
                "\\boxed{\\text{(A)}}               | A  | true",
                "Therefore it is C                  | C  | true",
                "I take option B                    | B  | true",
                "A man walks                        | A  | false",
                "''                                 | A  | false",
                "The correct answer is answer2      | answer2   | true",
                "answer1, not answer2               | answer2   | false",
                "True, it says                      | true      | true",
                "false                              | true      | false",
                "the correct ending is Ending3      | ending3   | true",
                "solution2                          | solution1 | false",
                "option1                            | option1   | true",
                "1                                  | answer1   | false",
            })
    void choices(String generated, String answer, boolean expected) {
        assertEquals(expected, Evaluation.exactMatch(generated, answer));
    }

    @ParameterizedTest
    @CsvSource({"400,400,false", "400,1,false", "300,300,true"})
    void numbersTooLargeForADoubleNeverMatch(int digits, int expected, boolean match) {
        String answer = "9".repeat(expected);
        assertEquals(match, Evaluation.exactMatch("9".repeat(digits), answer));
    }
}
